"""RepPoints' head against mmdet's, and what it adds."""

import mmcv
import numpy as np
import pytest
import torch
from helpers import BOXES, demo_batch, make_feats, mini_config, total_loss
from mmcv.transforms import Compose
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.analysis.assignment import read_assignment, run_head
from mmdet_assigners.small_scale import shrink_images
from mmdet_assigners.utils import config_path

STRIDES = [8, 16, 32]
IOU = dict(pos_iou_thr=0.5, neg_iou_thr=0.4)
VARIANTS = {
    'moment': {},
    'minmax': dict(transform_method='minmax'),
    'partial': dict(transform_method='partial_minmax'),
    '25 points': dict(num_points=25),
    'anchor': dict(center_init=False),
    'box': dict(transform_method='minmax', use_grid_points=True),
    'detached': dict(gradient_mul=0.0),
    'attached': dict(gradient_mul=1.0),
}


def assigners(anchor, mmdet):
    if mmdet:
        iou = dict(type='MaxIoUAssigner', min_pos_iou=1e-9, **IOU)
    else:
        iou = dict(type='BatchMaxIoUAssigner', **IOU)
    point = dict(
        type='PointAssigner' if mmdet else 'BatchPointAssigner', pos_num=1
    )
    stage = dict(allowed_border=-1, pos_weight=-1, debug=False)
    return ConfigDict(
        init=dict(assigner=iou if anchor else point, **stage),
        refine=dict(assigner=iou, **stage),
    )


def build(kind='BatchRepPointsHead', anchor=False, std=0.1, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = dict(
        type=kind,
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        point_feat_channels=8,
        stacked_convs=1,
        point_strides=STRIDES,
        train_cfg=assigners(anchor, mmdet=kind == 'RepPointsHead'),
        test_cfg=ConfigDict(
            nms_pre=100,
            score_thr=0.01,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=20,
        ),
    )
    head = MODELS.build({**config, **options})
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return head


def inputs(boxes):
    feats = make_feats(STRIDES, len(boxes))
    return feats, demo_batch(boxes)['data_samples']


@pytest.mark.parametrize('name', VARIANTS)
def test_equals_mmdet(name):
    """Losses and every gradient, with points and with anchors."""
    anchor = name in ('anchor', 'box')
    feats, samples = inputs([BOXES, [], BOXES[:2]])
    # the second image doesn't fill the batch
    samples[1].set_metainfo(dict(pad_shape=(96, 100)))
    runs = []
    for kind in ('RepPointsHead', 'BatchRepPointsHead'):
        head = build(kind, anchor, **VARIANTS[name])
        losses = head.loss(feats, samples)
        total_loss(losses).backward()
        losses = {
            key: torch.as_tensor(
                sum([*value]) if isinstance(value, list) else value
            )
            for key, value in losses.items()
        }
        runs.append((head, losses))
    (parent, expected), (head, ours) = runs
    assert ours.keys() == expected.keys()
    for key, loss in expected.items():
        torch.testing.assert_close(ours[key], loss)
        assert loss > 0
    pairs = zip(
        head.named_parameters(), parent.named_parameters(), strict=True
    )
    for (key, parameter), (other, reference) in pairs:
        assert key == other
        torch.testing.assert_close(
            parameter.grad, reference.grad, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize('name', ['moment', 'box'])
def test_detections_equal_mmdets(name):
    feats, samples = inputs([BOXES, []])
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(2.0, 0.5)))
    found = []
    for kind in ('RepPointsHead', 'BatchRepPointsHead'):
        head = build(kind, std=0.2, **VARIANTS[name]).eval()
        with torch.no_grad():
            found.append(head.predict(feats, samples, rescale=True))
    for theirs, ours in zip(*found, strict=True):
        assert len(theirs) == 20
        # far enough apart that rounding swaps no two detections
        assert theirs.scores.diff().abs().min() > 1e-5
        for key in ('bboxes', 'scores', 'labels'):
            torch.testing.assert_close(
                ours[key], theirs[key], rtol=1e-4, atol=1e-4
            )


def test_detections_carry_their_points():
    feats, samples = inputs([BOXES])
    head = build(transform_method='minmax', std=0.3).eval()
    for rescale, factor in ((False, (1.0, 1.0)), (True, (2.0, 0.5))):
        samples[0].set_metainfo(dict(scale_factor=factor))
        with torch.no_grad():
            (result,) = head.predict(feats, samples, rescale=rescale)
        assert result.points.shape == (len(result), 9, 2)
        box = torch.cat(
            (result.points.amin(1), result.points.amax(1)), 1
        )  # clipped boxes aren't
        limit = box.new_tensor([160, 128, 160, 128])
        limit = limit / box.new_tensor(factor).repeat(2)
        torch.testing.assert_close(
            box.clamp(min=0).minimum(limit), result.bboxes
        )


def test_selection_by_location_or_by_pair():
    """Two classes at the best location, one at the second."""
    head = build(transform_method='minmax').eval()
    logits = torch.full((2, 16, 20), -9.0)
    logits[:, 3, 4] = torch.tensor([2.0, 1.9])
    logits[0, 8, 9] = 1.8
    low = [torch.full((2, 128 // s, 160 // s), -9.0) for s in (16, 32)]
    points = [torch.randn(18, *level.shape[1:]) for level in (logits, *low)]
    priors = head.prior_generator.grid_priors(
        [level.shape[1:] for level in points], device='cpu'
    )
    meta = inputs([[]])[1][0].metainfo
    for by, number, expected in (
        ('pair', 2, [0, 1]),
        ('location', 2, [0, 1, 0]),
        ('location', 1, [0, 1]),
        ('pair', 3, [0, 1, 0]),
    ):
        cfg = ConfigDict(
            {**head.test_cfg, 'nms_pre': number, 'nms_pre_by': by}
        )
        result = head._predict_by_feat_single(
            [logits, *low], points, [None] * 3, priors, meta, cfg
        )
        assert result.labels.tolist() == expected
    cfg.nms_pre_by = 'class'
    with pytest.raises(ValueError, match="'pair' or 'location', got 'class'"):
        head._predict_by_feat_single(
            [logits, *low], points, [None] * 3, priors, meta, cfg
        )


@pytest.mark.parametrize(('mul', 'cls_mul'), [(0.1, None), (0.3, 0.0)])
def test_gradient_of_the_first_points(mul, cls_mul):
    """Classification and refinement send their own share."""

    def gradient(mul, cls_mul, part):
        head = build(gradient_mul=mul, cls_gradient_mul=cls_mul)
        outs = head.forward_single(inputs([[]])[0][0])
        outs[part].square().sum().backward()
        grad = head.reppoints_pts_init_out.weight.grad
        return torch.zeros(1) if grad is None else grad

    for part, factor in ((0, mul if cls_mul is None else cls_mul), (2, mul)):
        full = gradient(1.0, 1.0, part)
        assert full.abs().sum() > 0
        found = gradient(mul, cls_mul, part)
        expected = factor * full
        if factor == 0:
            expected = expected.new_zeros(found.shape)
        torch.testing.assert_close(found, expected)


def test_deformable_convolutions_start_small():
    """N(0, 0.01) as in the official code; mmdet leaves He's."""
    std = {}
    for kind in ('RepPointsHead', 'BatchRepPointsHead'):
        init_default_scope('mmdet')
        torch.manual_seed(0)
        head = MODELS.build(
            dict(type=kind, num_classes=2, in_channels=64, feat_channels=64)
        )
        head.init_weights()
        std[kind] = head.reppoints_cls_conv.weight.std().item()
        bias = head.reppoints_cls_out.bias
        torch.testing.assert_close(bias.sigmoid(), torch.full((2,), 0.01))
    assert std['BatchRepPointsHead'] == pytest.approx(0.01, rel=0.02)
    assert std['RepPointsHead'] > 0.02


def test_zero_weights_train():
    """All points coincide at first."""
    head = build(std=0.0)
    loss = total_loss(head.loss(*inputs([BOXES])))
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in head.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_no_object_at_all():
    head = build()
    losses = head.loss(*inputs([[], []]))
    assert list(losses) == ['loss_cls', 'loss_pts_init', 'loss_pts_refine']
    assert losses['loss_pts_init'] == 0 == losses['loss_pts_refine']
    total_loss(losses).backward()
    for name, parameter in head.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_stages_for_images():
    head = build()
    feats, samples = inputs([BOXES, []])
    gts, _, metas = unpack_gt_instances(samples)
    outs = head(feats)
    first, empty = head.get_assignment(outs, gts, metas, stage='init')
    assert first.priors.shape == (len(first), 2)
    assert (first.assigned_gt >= 0).sum() == len(BOXES)
    assert (empty.assigned_gt == -1).all()
    second, _ = head.get_assignment(outs, gts, metas)
    assert second.priors.shape == (len(first), 4)
    # by the overlap of the first points, not by their location
    assert len(second.assigned_gt[second.assigned_gt >= 0].unique()) > 1
    assert not torch.equal(first.assigned_gt, second.assigned_gt)
    with pytest.raises(ValueError, match="'init' or 'refine', got last"):
        head.get_assignment(outs, gts, metas, stage='last')


def test_adapter_of_mmdets_head():
    """The analysis tools show the same for both classes."""
    found = []
    for kind in ('RepPointsHead', 'BatchRepPointsHead'):
        head = build(kind).eval()
        feats, samples = inputs([BOXES, [], BOXES[:1]])
        gts, _, metas = unpack_gt_instances(samples)
        none = [InstanceData(bboxes=torch.zeros(0, 4))] * 3
        cfg = mini_config(
            config_path('batch-reppoints-moment_r50_fpn-gn_1x_coco')
        )
        model = MODELS.build(cfg.model)
        run = run_head(model.eval(), demo_batch([[]]))[1]
        run = run._replace(
            outs=head(feats), gts=gts, metas=metas, ignored=none, feats=feats
        )
        found.append(read_assignment(head, run))
        assert not head.training
    for theirs, ours in zip(*found, strict=True):
        assert torch.equal(ours.assigned_gt, theirs.assigned_gt)
        torch.testing.assert_close(ours.priors, theirs.priors)
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.level, theirs.level)
        assert torch.equal(ours.stride, theirs.stride)


def test_multi_scale_test_merges_twelve_views(tmp_path):
    """The pipeline and the model that ``--tta`` of mmdet's tool builds."""
    path = config_path('batch-reppoints-moment_r50_fpn-gn_ms-2x_coco')
    cfg = mini_config(path)
    shrink_images(cfg)
    file = str(tmp_path / 'image.png')
    mmcv.imwrite(np.random.default_rng(0).integers(0, 255, (60, 80, 3)), file)
    data = Compose(cfg.tta_pipeline)(dict(img_path=file, img_id=0))
    assert len(data['inputs']) == 12
    cfg.model.test_cfg.score_thr = 0.0
    model = MODELS.build({**cfg.tta_model, 'module': cfg.model}).eval()
    batch = dict(
        inputs=[[x] for x in data['inputs']],
        data_samples=[[x] for x in data['data_samples']],
    )
    with torch.no_grad():
        (result,) = model.test_step(batch)
    assert len(result.pred_instances) == 100
    assert result.pred_instances.bboxes[:, 2].max() <= 80.01


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        (dict(transform_method='mean'), ValueError, "got 'mean'"),
        (
            dict(train_cfg=assigners(False, True)),
            TypeError,
            r'train_cfg.init.assigner .* got PointAssigner',
        ),
        (
            dict(loss_cls=dict(type='CrossEntropyLoss')),
            ValueError,
            'use_sigmoid must be True',
        ),
        (dict(cls_grad_mul=0), TypeError, 'cls_grad_mul'),
        (dict(gradient_mul=2.0), ValueError, r'gradient_mul .*\[0, 1\]'),
        (dict(cls_gradient_mul=-0.1), ValueError, 'cls_gradient_mul must'),
        (
            dict(transform_method='moment', use_grid_points=True),
            ValueError,
            "needs transform_method='minmax', got 'moment'",
        ),
    ],
)
def test_wrong_options(options, error, text):
    with pytest.raises(error, match=text):
        build(**options)


def test_normalizer_over_processes_of_one_process():
    feats, samples = inputs([BOXES, BOXES[:2]])
    own = build().loss(feats, samples)
    synced = build(sync_normalizer=True).loss(feats, samples)
    for name, loss in own.items():
        torch.testing.assert_close(synced[name], loss)
