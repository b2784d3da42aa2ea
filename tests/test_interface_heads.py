"""Every dense head of ours, called as mmdet's detectors call theirs."""

import inspect

import pytest
import torch
from helpers import total_loss
from interface_cases import DENSE_HEADS, case
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdet_assigners.methods.sepc.pair_features import PairFeatureMixin
from mmdet_assigners.models.dense_heads.flat_head import FlatLossMixin
from mmdet_assigners.ops.anchor_match import max_iof
from mmdet_assigners.ops.anchor_points import flatten_levels
from mmdet_assigners.utils import registered_names

CLASSES = registered_names()
# losses and targets of SEPC's heads are mmdet's
OWN_LOSS = [
    name
    for name in DENSE_HEADS
    if not issubclass(CLASSES[name], PairFeatureMixin)
]
REGION = torch.tensor([[80.0, 0, 160, 128]])
MAX_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)

for_each_head = pytest.mark.parametrize('name', DENSE_HEADS)
for_each_loss = pytest.mark.parametrize('name', OWN_LOSS)


def assert_same(found, expected):
    """The same losses, or the same instances."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0, msg=key)


def parent_names(head):
    """Names of ``loss_by_feat`` in the parent in mmdet."""
    for cls in type(head).__mro__:
        if cls.__module__.startswith('mmdet.') and 'loss_by_feat' in vars(cls):
            return list(inspect.signature(cls.loss_by_feat).parameters)[1:]
    raise AssertionError(type(head))


def loss_of(name, change=None, region=None, gts=None):
    """Losses of a head built from a changed config, and its outputs."""
    data = case(name)
    head = data.build(change)
    samples = [sample.clone() for sample in data.samples]
    for sample in samples:
        if region is not None:
            sample.ignored_instances = InstanceData(bboxes=region)
        if gts is not None:
            sample.gt_instances = gts
    torch.manual_seed(0)  # samplers, point sampling
    return head.loss(data.feats, samples), head


@for_each_head
def test_loss_by_feat_has_mmdets_arguments(name):
    data = case(name)
    head, (gts, ignored, metas) = data.build(), data.targets
    outs = head(data.feats)
    names = parent_names(head)
    assert names[-3:] == [
        'batch_gt_instances',
        'batch_img_metas',
        'batch_gt_instances_ignore',
    ]
    if len(outs) == len(names) - 3:
        # the same outputs as the parent, so the same names
        assert getattr(head, 'out_names', tuple(names[:-3])) == tuple(
            names[:-3]
        )
    own = [*getattr(head, 'out_names', names[:-3]), *names[-3:]]
    extra = dict(feats=data.feats) if name == 'SAPDHead' else {}

    def call(*args, **kwargs):
        torch.manual_seed(0)
        head = data.build()  # some count their calls
        return head.loss_by_feat(*args, **kwargs, **extra)

    expected = call(*outs, gts, metas, ignored)
    assert_same(call(*outs, gts, metas), expected)
    assert_same(
        call(*outs, gts, metas, batch_gt_instances_ignore=ignored), expected
    )
    assert_same(
        call(*outs, batch_gt_instances=gts, batch_img_metas=metas), expected
    )
    named = dict(zip(own, (*outs, gts, metas, None), strict=True))
    assert_same(call(**named), expected)
    with pytest.raises(TypeError, match='batch_img_metas'):
        head.loss_by_feat(*outs, gts)
    with pytest.raises(TypeError, match='nonsense'):
        head.loss_by_feat(*outs, gts, metas, nonsense=1)


@for_each_head
def test_one_forward_pass_gives_loss_and_detections(name):
    """``loss_and_predict`` of two-stage and semi-supervised detectors."""
    data = case(name)
    torch.manual_seed(0)
    expected = data.build().loss(data.feats, data.samples)
    torch.manual_seed(0)
    head = data.build()
    cfg = ConfigDict(head.test_cfg, max_per_img=7)
    losses, found = head.loss_and_predict(data.feats, data.samples, cfg)
    assert_same(losses, expected)
    assert len(found) == 2
    assert all(len(one) <= 7 for one in found)


def keep_all(node):
    """Post-processing that keeps candidates of random weights."""
    node.test_cfg = ConfigDict(node.test_cfg, score_thr=0.0, conf_thr=-1)
    if node.type.startswith('BatchGA'):
        node.loc_filter_thr = 0.0


@for_each_head
def test_detections_have_no_gradient(name):
    """A second stage must not train the first one through its boxes."""
    data = case(name)
    head = data.build(keep_all)
    torch.manual_seed(0)
    _, trained = head.loss_and_predict(data.feats, data.samples)
    head.eval()
    _, _, metas = data.targets
    extra = (metas,) if name == 'AlignDetHead' else ()
    # guided anchors take no with_nms, in mmdet too
    options = {} if name.startswith('BatchGA') else dict(with_nms=False)
    raw = head.predict_by_feat(
        *head(data.feats, *extra),
        batch_img_metas=metas,
        rescale=True,
        **options,
    )
    found = head.predict(data.feats, data.samples, rescale=False)
    for one in (*trained, *raw, *found):
        for key, value in one.items():
            assert not value.requires_grad, key
    assert any(len(one) for one in found)


@pytest.mark.parametrize(
    'name', [n for n in OWN_LOSS if not n.startswith('BatchGA')]
)  # which give them to assigners of mmdet
def test_boxes_of_a_careless_dataset(name):
    """An image without objects may have boxes and labels of shape (0,)."""
    careless = InstanceData(bboxes=torch.zeros(0), labels=torch.zeros(0))
    tidy = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    found, _ = loss_of(name, gts=careless)
    expected, _ = loss_of(name, gts=tidy)
    assert_same(found, expected)


# heads whose parent in mmdet has no such weight, or whose loss can't have it
NO_POS_WEIGHT = {
    'AutoAssignAblationHead',
    'BorderDetHead',
    'BorderRPNHead',
    'CenterPointHead',
    'CornerPairHead',
    'ExtremeHead',
    'FCOSAblationHead',
    'FSAFPaperHead',
    'FlatYOLOV3Head',
    'GaussianYOLOV3Head',
    'IoUYOLOV3Head',
    'MALRetinaHead',
    'QFLFoveaHead',
    'RankingATSSHead',
    'RankingFCOSHead',
    'RankingRetinaHead',
    'RetinaFSAFHead',
    'SAPDHead',
    'SaccadeHead',
    'SamplingFreeFCOSHead',
}


def weigh_positives(weight):
    def change(node):
        stage = node.train_cfg.get('refine', node.train_cfg)
        stage.pos_weight = weight
        stage.setdefault('assigner', ConfigDict(MAX_IOU))
        if 'SamplingFree' in node.type:
            node.guided = False  # the guide restores the sum

    return change


@for_each_loss
def test_weight_of_positives(name):
    """``pos_weight`` is a factor of positives, or an error."""
    loss_of(name, weigh_positives(0))
    if name in NO_POS_WEIGHT:
        with pytest.raises(ValueError, match=r'pos_weight must be -1, got 3'):
            loss_of(name, weigh_positives(3))
        return
    values = []
    for weight in (-1, 2, 3):
        losses, _ = loss_of(name, weigh_positives(weight))
        key = 'loss_rpn_cls' if 'loss_rpn_cls' in losses else 'loss_cls'
        values.append(losses[key])
    assert values[1] > values[0]
    if name != 'NoisyAnchorRetinaHead':  # its weights depend on the losses
        torch.testing.assert_close(
            values[2] - values[0],
            2 * (values[1] - values[0]),
            rtol=1e-4,
            atol=0,
        )


# what there is to ignore is decided without an assigner
NO_REGIONS = NO_POS_WEIGHT - {
    'FlatYOLOV3Head',
    'GaussianYOLOV3Head',
    'IoUYOLOV3Head',
    'RankingATSSHead',
    'RankingRetinaHead',
}


def ignore_regions(node):
    stage = node.train_cfg.get('refine', node.train_cfg)
    stage.assigner = stage.get('assigner') or ConfigDict(MAX_IOU)
    stage.assigner.ignore_iof_thr = 0.5
    if 'align_assigner' in stage:
        stage.align_assigner.ignore_iof_thr = 0.5
    if node.type == 'SamplingFreeRetinaHead':
        node.ignored_as_negative = False


def priors_of(head, outs, metas):
    """What the classification is trained on: (P, 4) or (B, P, 4)."""
    if isinstance(head, FlatLossMixin):
        gts = [
            InstanceData(
                bboxes=torch.zeros(0, 4),
                labels=torch.zeros(0, dtype=torch.long),
            )
        ] * len(metas)
        return head.flatten(outs, gts, metas).anchors
    if type(head).__name__ == 'PairedRPNHead':
        sizes = [score.shape[-2:] for score in outs[0]]
        anchors, _ = head.get_anchors(sizes, metas, device='cpu')
        return torch.stack([torch.cat(levels) for levels in anchors])
    if hasattr(head, '_guided_anchors'):
        return head._guided_anchors(outs[2])[1]
    priors, *_ = head._locations(outs[0], metas)
    return head._boxes(outs[1], priors)


@for_each_loss
def test_ignored_regions(name):
    """Nothing is learned in them, or the option is refused."""
    if name in NO_REGIONS:
        with pytest.raises(ValueError, match=r'ignore_iof_thr must be -1'):
            loss_of(name, ignore_regions)
        return
    data = case(name)
    head, (gts, _, metas) = data.build(ignore_regions), data.targets
    ignored = [InstanceData(bboxes=REGION), None]
    grads = []
    for regions in (ignored, None):
        outs = head(data.feats)
        torch.manual_seed(0)
        losses = head.loss_by_feat(*outs, gts, metas, regions)
        loss = sum(
            value for key, value in losses.items() if 'loss' in key
        ) - losses.get('loss_loc', losses.get('loss_anchor_loc', 0))
        maps = torch.autograd.grad(loss, outs[0])
        priors = priors_of(head, outs, metas)
        grads.append(flatten_levels(maps, priors.shape[-2]).abs().sum(-1))
    inside = max_iof(priors, REGION.expand(2, 1, 4)) > 0.5
    inside[1] = False  # the second image has none
    with_regions, without = grads
    assert without[inside].any()
    assert not with_regions[inside].any()
    assert with_regions[~inside].any()


def test_regions_and_negatives_that_are_ignored():
    """``ignored_as_negative`` would train on the regions."""

    def change(node):
        node.train_cfg.assigner.ignore_iof_thr = 0.5

    with pytest.raises(ValueError, match=r'ignored_as_negative=True'):
        loss_of('SamplingFreeRetinaHead', change)


# the box loss compares boxes whatever reg_decoded_bbox says
BOX_LOSSES = {
    'AutoAssignAblationHead',
    'BatchRepPointsHead',
    'BorderDetHead',
    'BorderRPNHead',
    'FCOSAblationHead',
    'GFLAblationHead',
    'IoUYOLOV3Head',
    'RankingFCOSHead',
    'SamplingFreeFCOSHead',
}
# no loss_bbox, or one of a fixed type
NO_BOX_LOSS = {
    'CenterPointHead',
    'CornerPairHead',
    'ExtremeHead',
    'FSAFPaperHead',
    'FlatSSDHead',
    'FlatYOLOV3Head',
    'GaussianYOLOV3Head',
    'PyConvSSDHead',
    'QFLFoveaHead',
    'QFLSSDHead',
    'SAPDHead',
    'SaccadeHead',
}


@pytest.mark.parametrize(
    'name', [n for n in DENSE_HEADS if n not in BOX_LOSSES | NO_BOX_LOSS]
)
def test_iou_of_deltas_is_refused(name):
    def change(node):
        node.loss_bbox = dict(type='GIoULoss')
        node.reg_decoded_bbox = False

    with pytest.raises(TypeError, match=r'loss_bbox .*(GIoULoss|KLLoss)'):
        loss_of(name, change)


@pytest.mark.parametrize('name', ['BorderDetHead', 'BorderRPNHead'])
def test_iou_of_border_deltas_is_refused(name):
    def change(node):
        node.loss_border_bbox = dict(type='GIoULoss')

    with pytest.raises(TypeError, match=r'loss_border_bbox .* got GIoULoss'):
        loss_of(name, change)


def test_decoded_boxes_where_the_loss_has_deltas():
    def change(node):
        node.reg_decoded_bbox = True

    for name in ('AlignDetHead', 'MALRetinaHead', 'SamplingFreeRetinaHead'):
        with pytest.raises(ValueError, match='reg_decoded_bbox must be False'):
            loss_of(name, change)


def test_every_head_is_here():
    """No head of the package is left out, and the lists name real ones."""
    dense = {n for n, c in CLASSES.items() if issubclass(c, BaseDenseHead)}
    assert dense == {*DENSE_HEADS, 'BatchGuidedAnchorHead'}
    lists = NO_POS_WEIGHT | NO_REGIONS | BOX_LOSSES | NO_BOX_LOSS
    assert lists <= set(DENSE_HEADS)
    assert total_loss(loss_of(DENSE_HEADS[0])[0]) > 0
