"""What ``new-method`` writes for each kind of piece.

The texts are :class:`string.Template` sources, as in
:mod:`mmdet_assigners.cli.templates`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What a new piece of one kind looks like.

    Attributes:
        folder: Sub-folder of ``models``.
        suffix: End of the class name; in snake case, of the file name.
        imports: Imports of the module.
        parent: Parent class; ``$head`` is the head of the base.
        registry: Registry that the class joins.
        method: The method that is left to write.
        body: Source of the class body after its docstring.
        config: Keys of ``model`` in the config.
        config_two_stage: The same for a two-stage base, if it differs.
        test: Source of the test of the stub.
    """

    folder: str
    suffix: str
    imports: str
    parent: str
    registry: str
    method: str
    body: str
    config: str
    test: str
    config_two_stage: str = ''


_RAISE = """\
        raise NotImplementedError(  # $mark
            '$cls.$method is not written yet'
        )
"""
_MODULE_IMPORTS = """\
from mmdet.registry import MODELS
from torch import Tensor, nn
"""

KINDS = {
    'assigner': Kind(
        folder='task_modules/assigners',
        suffix='Assigner',
        imports="""\
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
""",
        parent='BaseAssigner',
        registry='TASK_UTILS',
        method='assign',
        body='''\
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assign every prior to a ground truth, to the background or to none.

        Args:
            pred_instances: Has ``priors`` (P, 4), boxes in pixels.
            gt_instances: Has ``bboxes`` (G, 4) and ``labels`` (G,).
            gt_instances_ignore: Has ``bboxes`` (I, 4).

        Returns:
            ``gt_inds`` (P,): -1 ignored, 0 background, i + 1 positive of
            ground truth i.
        """
'''
        + _RAISE,
        config="""\
    train_cfg=dict(assigner=dict(_delete_=True, type='$cls')),
""",
        config_two_stage="""\
    train_cfg=dict(rcnn=dict(assigner=dict(_delete_=True, type='$cls'))),
""",
        test="""\
import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

PRIORS = torch.tensor([[0.0, 0.0, 10.0, 10.0], [40.0, 40.0, 50.0, 50.0]])


def assign(gt_bboxes):
    assigner = TASK_UTILS.build(dict(type='$cls'))
    labels = torch.full((len(gt_bboxes),), 3)
    gts = InstanceData(bboxes=gt_bboxes, labels=labels)
    return assigner.assign(InstanceData(priors=PRIORS), gts)


def test_prior_equal_to_the_gt_is_positive():
    assert assign(PRIORS[:1]).gt_inds.tolist() == [1, 0]


def test_no_gt_is_all_background():
    assert assign(PRIORS[:0]).gt_inds.tolist() == [0, 0]
""",
    ),
    'head': Kind(
        folder='dense_heads',
        suffix='Head',
        imports="""\
from typing import Any

from mmdet.models.dense_heads import $head
from mmdet.registry import MODELS
from torch import Tensor
""",
        parent='$head',
        registry='MODELS',
        method='loss_by_feat',
        body='''\
    def loss_by_feat(self, *args: Any) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            *args: $mark name them as $head.loss_by_feat does.

        Returns:
            Scalars () by name.
        """
'''
        + _RAISE,
        config="""\
    # the arguments of $head stay, hence no _delete_
    bbox_head=dict(type='$cls'),
""",
        test="""\
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData


def loss(gt_bboxes):
    model = get_config(CONFIG).model
    head = MODELS.build(
        dict(
            model.bbox_head,
            train_cfg=model.get('train_cfg'),
            test_cfg=model.test_cfg,
        )
    )
    labels = torch.full((len(gt_bboxes),), 3)
    keys = ('img_shape', 'pad_shape', 'batch_input_shape')
    sample = DetDataSample(metainfo=dict.fromkeys(keys, (64, 64)))
    sample.gt_instances = InstanceData(bboxes=gt_bboxes, labels=labels)
    sample.ignored_instances = InstanceData(bboxes=gt_bboxes[:0])
    feats = tuple(torch.rand(1, 256, s, s) for s in (8, 4, 2, 1, 1))
    return head.loss(feats, [sample])


def test_losses_are_finite_with_and_without_gt():
    torch.manual_seed(0)
    some = loss(torch.tensor([[4.0, 4.0, 40.0, 44.0]]))
    none = loss(torch.zeros(0, 4))
    assert some and set(some) == set(none)
    for losses in (some, none):
        total = sum(torch.as_tensor(v).sum() for v in _flat(losses))
        assert total.isfinite() and total.requires_grad


def _flat(losses):
    for value in losses.values():
        yield from value if isinstance(value, list) else [value]
""",
    ),
    'neck': Kind(
        folder='necks',
        suffix='Neck',
        imports='from collections.abc import Sequence\n\n' + _MODULE_IMPORTS,
        parent='nn.Module',
        registry='MODELS',
        method='forward',
        body='''\
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Refine a pyramid.

        Args:
            inputs: L levels (B, C, H_l, W_l), finest first.

        Returns:
            L levels (B, C, H_l, W_l).
        """
'''
        + _RAISE,
        config="""\
    neck=[_base_.model.neck, dict(type='$cls', in_channels=256)],
""",
        test="""\
import torch
from mmdet.registry import MODELS


def test_levels_keep_their_shapes():
    neck = MODELS.build(dict(type='$cls', in_channels=4))
    levels = [torch.rand(2, 4, size, size + 1) for size in (8, 4, 2)]
    outs = neck(levels)
    assert [out.shape for out in outs] == [x.shape for x in levels]
""",
    ),
    'backbone': Kind(
        folder='backbones',
        suffix='Backbone',
        imports="""\
from mmdet.models.backbones import ResNet
from mmdet.registry import MODELS
from torch import Tensor
""",
        parent='ResNet',
        registry='MODELS',
        method='forward',
        body='''\
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features of a batch of images.

        Args:
            x: Images (B, 3, H, W).

        Returns:
            L levels (B, C_l, H_l, W_l), finest first.
        """
'''
        + _RAISE,
        config="""\
    # the arguments of ResNet stay, hence no _delete_
    backbone=dict(type='$cls'),
""",
        test="""\
import torch
from mmdet.registry import MODELS


def test_strides_and_channels():
    net = MODELS.build(dict(type='$cls', depth=18, base_channels=8))
    outs = net(torch.rand(2, 3, 64, 96))
    assert [tuple(out.shape) for out in outs] == [
        (2, 8, 16, 24),
        (2, 16, 8, 12),
        (2, 32, 4, 6),
        (2, 64, 2, 3),
    ]
""",
    ),
    'roi_head': Kind(
        folder='roi_heads',
        suffix='RoIHead',
        imports="""\
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from torch import Tensor
""",
        parent='StandardRoIHead',
        registry='MODELS',
        method='bbox_loss',
        body='''\
    def bbox_loss(
        self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]
    ) -> dict:
        """Losses of the sampled regions.

        Args:
            x: L levels (B, C, H_l, W_l).
            sampling_results: B results.

        Returns:
            ``loss_bbox``: scalars () by name.
        """
'''
        + _RAISE,
        config="""\
    # the arguments of StandardRoIHead stay, hence no _delete_
    roi_head=dict(type='$cls'),
""",
        test="""\
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData


def test_losses_are_finite():
    torch.manual_seed(0)
    model = get_config(CONFIG).model
    head = MODELS.build(
        dict(
            model.roi_head,
            train_cfg=model.train_cfg.rcnn,
            test_cfg=model.test_cfg.rcnn,
        )
    )
    bboxes = torch.tensor([[4.0, 4.0, 40.0, 44.0]])
    sample = DetDataSample(metainfo=dict(img_shape=(64, 64)))
    sample.gt_instances = InstanceData(
        bboxes=bboxes, labels=torch.tensor([3])
    )
    proposals = InstanceData(bboxes=bboxes + 1, scores=torch.ones(1))
    feats = tuple(torch.rand(1, 256, s, s) for s in (16, 8, 4, 2))
    losses = head.loss(feats, [proposals], [sample])
    total = sum(v for k, v in losses.items() if 'loss' in k)
    assert total.isfinite() and total.requires_grad
""",
    ),
    'loss': Kind(
        folder='losses',
        suffix='Loss',
        imports=_MODULE_IMPORTS,
        parent='nn.Module',
        registry='MODELS',
        method='forward',
        body='''\
    use_sigmoid = True  # one logit per class: read by mmdet's heads

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
    ) -> Tensor:
        """Loss of a batch.

        Args:
            pred: Logits (P, C).
            target: Labels (P,), C for background.
            weight: Weights (P,).
            avg_factor: Divides the sum.

        Returns:
            The loss, a scalar ().
        """
'''
        + _RAISE,
        config="""\
    bbox_head=dict(loss_cls=dict(_delete_=True, type='$cls')),
""",
        config_two_stage="""\
    roi_head=dict(
        bbox_head=dict(loss_cls=dict(_delete_=True, type='$cls'))
    ),
""",
        test="""\
import torch
from mmdet.registry import MODELS


def test_right_logits_cost_less_than_wrong_ones():
    loss = MODELS.build(dict(type='$cls'))
    target = torch.tensor([0, 1])
    logits = torch.tensor([[4.0, -4.0], [-4.0, 4.0]], requires_grad=True)
    right, wrong = loss(logits, target), loss(-logits, target)
    assert 0 <= right < wrong < float('inf')
    wrong.backward()
    assert logits.grad.abs().sum() > 0
""",
    ),
    'layer': Kind(
        folder='layers',
        suffix='Conv',
        imports="""\
from mmengine.registry import MODELS  # mmcv's build_conv_layer looks here
from torch import Tensor, nn
""",
        parent='nn.Conv2d',
        registry='MODELS',
        method='forward',
        body='''\
    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: Features (B, C_in, H, W).

        Returns:
            Features (B, C_out, H', W').
        """
'''
        + _RAISE,
        config="""\
    neck=dict(conv_cfg=dict(type='$cls')),
""",
        test="""\
import torch
from mmcv.cnn import build_conv_layer


def test_keeps_the_size():
    conv = build_conv_layer(dict(type='$cls'), 4, 8, 3, padding=1)
    assert conv(torch.rand(2, 4, 6, 5)).shape == (2, 8, 6, 5)
""",
    ),
}
