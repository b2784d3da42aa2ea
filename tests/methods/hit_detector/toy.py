"""A supernet of convolutions, for searches of seconds."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import nn

from mmdet_assigners.methods.hit_detector.functional import expected_cost
from mmdet_assigners.methods.hit_detector.search_space import MixedOp


def conv(width, size, dilation=1):
    padding = size // 2 * dilation
    return nn.Conv2d(
        width, width, size, padding=padding, dilation=dilation, bias=False
    )


def convs(width):
    return [conv(width, size) for size in (1, 3, 5)]


class Toy(BaseModel):
    """Mixed operations with a ReLU after the first, and their cost."""

    def __init__(self, layers, costs, lam=0.0):
        super().__init__(dict(type='BaseDataPreprocessor'))
        self.layers = nn.ModuleList(MixedOp(ops) for ops in layers)
        self.costs, self.lam = costs, lam
        self.arch_alpha = nn.Parameter(torch.zeros(costs.shape))
        self.arch_step = False
        self.steps = []

    def forward(self, inputs, targets, mode='loss'):
        for i, layer in enumerate(self.layers):
            inputs = layer(inputs, self.arch_alpha[i])
            if i == 0 and len(self.layers) > 1:
                inputs = inputs.relu()
        losses = dict(loss_mse=F.mse_loss(inputs, targets))
        if self.arch_step:
            cost = expected_cost(self.arch_alpha, self.costs)
            losses['loss_cost'] = self.lam * cost
        return losses

    def train_step(self, data, optim_wrapper):
        self.steps.append((self.arch_step, data))
        return super().train_step(data, optim_wrapper)
