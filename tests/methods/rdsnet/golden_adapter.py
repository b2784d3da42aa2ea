"""Golden ops of RDSNet."""

import re

import torch
from golden_runner import adapter
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.methods.rdsnet import functional as rdsnet
from mmdet_assigners.methods.rdsnet.mask_head import RDSMaskHead


def our_name(name):
    """Layers of theirs alternate with enlargements."""
    name = re.sub(
        r'(lateral_convs\.\d+)\.(\d+)',
        lambda m: f'{m[1]}.{int(m[2]) // 2}',
        name,
    )
    return re.sub(r'(final_convs\.\d+)\.0', r'\1', name)


@adapter('rdsnet.pixel_head')
def pixel_head(case):
    p = case.params
    groups = p['num_groups']
    state = case.weights
    width, channels = state['lateral_convs.0.0.conv.weight'].shape[:2]
    head = RDSMaskHead(
        in_channels=channels,
        conv_out_channels=width,
        rep_channels=p['rep_channels'],
        end_level=p['end_level'],
        num_convs=p['num_convs'],
        norm_cfg=dict(type='GN', num_groups=groups) if groups else None,
    )
    case.load(head, our_name)
    objects = [InstanceData(reps=reps) for reps in case.levels('obj')]
    (found,) = head(case.levels('feat'), objects)
    outputs = {}
    for index, (logits, pad) in enumerate(
        zip(found, p['pad_shapes'], strict=True)
    ):
        rows, columns = rdsnet.inner_size(
            logits.shape[1:3], pad, p['stack_shape']
        )
        outputs[f'mask_logits{index}'] = logits[:, :rows, :columns]
    return case.results(outputs)


@adapter('rdsnet.crop')
def crop(case):
    p = case.params
    inside = rdsnet.inside_crop(
        case['boxes'], p['padding'], p['height'], p['width']
    )
    return case.results({'crop_mask': inside})


@adapter('rdsnet.mask_loss')
def mask_loss(case):
    p = case.params
    losses = []
    for logits, boxes, masks in zip(
        case.levels('mask_logits'),
        case.levels('boxes'),
        case.levels('gt_masks'),
        strict=True,
    ):
        losses.append(
            rdsnet.mask_losses(
                logits,
                boxes * p['scale'],
                rdsnet.mask_targets(masks, logits.shape[1:3]),
                p['crop_padding'],
                p['use_mask_ohem'],
                p['pos_neg_ratio'],
            )
        )
    losses = torch.cat(losses)
    total = p['loss_weight'] * losses.sum() / (len(losses) + 1)
    return case.results({'loss_mask': total}, total)


@adapter('rdsnet.get_masks')
def get_masks(case):
    p = case.params
    shape = p['ori_shape'] if p['rescale'] else p['img_shape']
    masks = rdsnet.foreground(
        case['mask_logits'],
        p['pad_shape'],
        p['img_shape'],
        p['ori_shape'] if p['rescale'] else None,
    )
    inside = rdsnet.inside_crop(case['boxes'], p['crop_padding'], *shape[:2])
    return case.results({'prob': masks * inside})


class Kernel(nn.Module):
    """Of the likelihood."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1, size))
        self.bias = nn.Parameter(torch.zeros(1))


@adapter('rdsnet.mbrm')
def mbrm(case):
    p = case.params
    kernel = case.load(Kernel(p['kernel_size']))
    found = rdsnet.border_posteriors(
        case['masks'],
        case['boxes'],
        kernel.weight,
        kernel.bias,
        p['gamma'],
        p['prior_cut'],
        p['sigma_min'],
    )
    names = ('post_l', 'post_t', 'post_r', 'post_b')
    return case.results(
        {
            **dict(zip(names, found, strict=True)),
            'refined': rdsnet.refined_boxes(found, case['boxes']),
        }
    )
