"""Double-Head-Ext: box head and RoI heads."""

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmdet.models.layers import multiclass_nms
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.double_head.functional import fuse_scores
from mmdet_assigners.utils import config_path

CLASSES = 3
OUTPUTS = ('cls_score', 'bbox_pred', 'cls_score_conv', 'bbox_pred_fc')
CASCADE = 'double-head-ext_cascade-rcnn_r50_fpn_1x_coco'
MAIN = 'double-head-ext_faster-rcnn_r50_fpn_1x_coco'
PLAIN = dict(
    num_nonlocal=0,
    lambda_fc=1.0,
    lambda_conv=1.0,
    omega_conv=2.0,
    test_mode='fc_conv',
)


def build(kind='DoubleHeadExtBBoxHead', **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = dict(
        type=kind,
        in_channels=4,
        conv_out_channels=16,
        fc_out_channels=8,
        num_convs=2,
        num_fcs=2,
        roi_feat_size=3,
        num_classes=CLASSES,
    )
    head = MODELS.build({**config, **options})
    head.init_weights()
    return head


def targets(count=12, positives=4):
    torch.manual_seed(1)
    labels = torch.full((count,), CLASSES)
    labels[:positives] = torch.arange(positives) % CLASSES
    return dict(
        rois=torch.zeros(count, 5),
        labels=labels,
        label_weights=torch.ones(count),
        bbox_targets=torch.randn(count, 4),
        bbox_weights=(labels < CLASSES).float()[:, None].expand(-1, 4),
    )


def run(head, count=12, positives=4):
    """Outputs and losses of random RoI features."""
    torch.manual_seed(2)
    outs = head(*torch.randn(2, count, 4, 3, 3))
    for out in outs.values():
        out.retain_grad()
    return outs, head.loss(**outs, **targets(count, positives))


def detector(name=MAIN, **box):
    cfg = mini_config(config_path(name))
    if box:
        cfg.model.roi_head.bbox_head.update(box)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def test_without_its_features_it_is_mmdet():
    """Losses and detections, bit for bit."""
    ours = detector(**PLAIN)
    cfg = mini_config(config_path(MAIN))
    head = cfg.model.roi_head
    head.type, head.reg_roi_scale_factor = 'DoubleHeadRoIHead', 1.3
    head.bbox_head.type = 'DoubleConvFCBBoxHead'
    for loss in ('loss_cls', 'loss_bbox'):
        head.bbox_head[loss].loss_weight = 2.0
    theirs = MODELS.build(cfg.model)
    state = ours.state_dict()
    assert theirs.state_dict().keys() <= state.keys()
    theirs.load_state_dict(state, strict=False)
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        losses.append(losses_of(model.train(), demo_batch([BOXES, BOXES[:1]])))
    for our, their in (('cls_fc', 'cls'), ('bbox_conv', 'bbox')):
        value = losses[0][f'loss_{our}']
        assert torch.equal(value, losses[1][f'loss_{their}'])
    assert losses[0]['loss_cls_conv'] == losses[0]['loss_bbox_fc'] == 0
    assert torch.equal(losses[0]['acc_fc'], losses[1]['acc'])
    theirs.load_state_dict(ours.state_dict(), strict=False)
    found = []
    for model in (ours.eval(), theirs.eval()):
        with torch.no_grad():
            data = model.data_preprocessor(demo_batch([BOXES, []]), False)
            found.append(model(**data, mode='predict'))
    for our, their in zip(*found, strict=True):
        our, their = our.pred_instances, their.pred_instances
        assert len(our) == len(their)
        assert torch.equal(our.bboxes, their.bboxes)
        assert torch.equal(our.scores, their.scores)


def test_losses_have_the_four_weights():
    head = build()
    _, losses = run(head)
    ones = dict.fromkeys(head.weights, 1.0)
    weights, head.weights = head.weights, ones
    _, plain = run(head)
    assert {n for n in losses if 'loss' in n} == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(losses[name], weight * plain[name])


@pytest.mark.parametrize(
    ('options', 'without'),
    [
        (dict(lambda_conv=1.0), {'cls_score_conv'}),
        (dict(lambda_fc=1.0), {'bbox_pred_fc'}),
        (dict(lambda_conv=0.0), {'bbox_pred'}),
        (dict(omega_fc=0.0), {'cls_score', 'bbox_pred_fc'}),
        ({}, set()),
    ],
)
def test_tasks_without_weight_have_no_gradient(options, without):
    outs, losses = run(build(**options))
    total_loss(losses).backward()
    zero = {name for name, out in outs.items() if (out.grad == 0).all()}
    assert zero == without


@pytest.mark.parametrize(('count', 'positives'), [(12, 0), (0, 0), (1, 1)])
def test_degenerate_samples(count, positives):
    head = build().train()
    expected = run(head)[1].keys()
    statistics = {n: b.clone() for n, b in head.named_buffers()}
    _, losses = run(head, count, positives)
    assert losses.keys() == expected
    loss = total_loss(losses)
    assert torch.isfinite(loss)
    loss.backward()
    if positives == 0:
        assert losses['loss_bbox_fc'] == losses['loss_bbox_conv'] == 0
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for name, value in head.named_buffers():
        assert torch.isfinite(value.float()).all(), name
        if count == 0 and 'running' in name:
            assert torch.equal(value, statistics[name]), name


def test_autocast_is_finite():
    head = build().train()
    with torch.autocast('cpu', torch.bfloat16):
        _, losses = run(head)
    assert all(torch.isfinite(v).all() for v in losses.values())
    assert total_loss(losses).dtype == torch.float32


def predict_inputs(count=40):
    torch.manual_seed(3)
    corner = torch.rand(count, 2) * 40
    boxes = torch.cat((corner, corner + torch.rand(count, 2) * 30 + 20), 1)
    outs = {
        name: torch.randn(count, 4 * CLASSES if 'bbox' in name else 4) * 2
        for name in OUTPUTS
    }
    roi = torch.cat((torch.zeros(count, 1), boxes), 1)
    return dict(roi=roi, img_meta=dict(img_shape=(90, 90)), **outs)


CFG = ConfigDict(
    score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=9
)


@pytest.mark.parametrize(
    ('mode', 'scores', 'boxes'),
    [
        ('conv', 'cls_score_conv', 'bbox_pred'),
        ('fc', 'cls_score', 'bbox_pred_fc'),
        ('fc_conv', 'cls_score', 'bbox_pred'),
        ('ext', None, 'bbox_pred'),
    ],
)
def test_modes(mode, scores, boxes):
    head = build(test_mode=mode)
    inputs = predict_inputs()
    raw = head._predict_by_feat_single(**inputs)
    decoded = head.bbox_coder.decode(
        inputs['roi'][:, 1:], inputs[boxes], max_shape=(90, 90)
    )
    torch.testing.assert_close(raw.bboxes, decoded.reshape(40, -1))
    expected = (
        inputs[scores].softmax(1)
        if scores
        else fuse_scores(inputs['cls_score'], inputs['cls_score_conv'])
    )
    torch.testing.assert_close(raw.scores, expected)
    found = head._predict_by_feat_single(**inputs, rcnn_test_cfg=CFG)
    dets, labels = multiclass_nms(
        raw.bboxes, expected, CFG.score_thr, CFG.nms, CFG.max_per_img
    )
    torch.testing.assert_close(found.scores, dets[:, 4])
    torch.testing.assert_close(found.bboxes, dets[:, :4])
    assert torch.equal(found.labels, labels)
    assert len(found) == 9


@pytest.mark.parametrize('cfg', [None, CFG])
def test_no_rois(cfg):
    inputs = predict_inputs(0)
    found = build()._predict_by_feat_single(**inputs, rcnn_test_cfg=cfg)
    assert len(found) == 0 and found.bboxes.shape == (0, 4)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(lambda_fc=1.1), 'lambda_fc must be 0 to 1, got 1.1'),
        (dict(lambda_conv=-0.1), 'lambda_conv must be 0 to 1, got -0.1'),
        (dict(omega_conv=-1), 'omega_conv must be >= 0, got -1'),
        (dict(num_nonlocal=3), 'num_nonlocal must be 0 to num_convs=2, got 3'),
        (dict(test_mode='cnov'), "got 'cnov'; did you mean conv"),
    ],
)
def test_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        build(**options)


def test_refuses_a_loss_of_boxes():
    with pytest.raises(TypeError, match=r'loss_bbox .* compares deltas'):
        build(loss_bbox=dict(type='GIoULoss'))


@pytest.mark.parametrize('name', [MAIN, CASCADE])
def test_refuses_a_scale(name):
    cfg = mini_config(config_path(name))
    cfg.model.roi_head.reg_roi_scale_factor = 0
    with pytest.raises(ValueError, match='reg_roi_scale_factor must be > 0'):
        MODELS.build(cfg.model)


def test_in_another_roi_head():
    cfg = mini_config(config_path(MAIN))
    cfg.model.roi_head.type = 'DoubleHeadRoIHead'
    cfg.model.roi_head.reg_roi_scale_factor = 1.3
    model = MODELS.build(cfg.model)
    with pytest.raises(TypeError, match='returned cls_score, bbox_pred, cls'):
        losses_of(model, demo_batch([BOXES]))


@pytest.mark.parametrize('name', [MAIN, CASCADE])
def test_convolutions_see_enlarged_rois(name):
    """1.3 times about the center; the level is that of the RoI itself."""
    head = detector(name).roi_head
    maps = [
        torch.full((1, 64, 512 // s, 512 // s), float(s))
        for s in (4, 8, 16, 32, 64)
    ]
    maps[1] = torch.arange(64.0).expand(1, 64, 64, 64).contiguous()
    # 120 wide: level 1; enlarged 156 wide, still level 1
    rois = torch.tensor([[0, 100.0, 100, 220, 220]])
    stage = () if name == MAIN else (0,)
    own, enlarged = head.box_feats(*stage, maps, rois)
    for feats, width in ((own, 120), (enlarged, 156)):
        x = (160 - width / 2 + (torch.arange(7) + 0.5) / 7 * width) / 8 - 0.5
        torch.testing.assert_close(feats[0, 0, 3], x)
    # 110 wide: level 0, though 143 wide would be level 1
    _, enlarged = head.box_feats(
        *stage, maps, torch.tensor([[0, 100.0, 100, 210, 210]])
    )
    assert (enlarged == 4).all()


@pytest.mark.parametrize('name', [MAIN, CASCADE])
def test_no_proposals(name):
    """None in an image, none at all."""
    head = detector(name).roi_head.eval()
    feats = [torch.randn(2, 64, 128 // s, 160 // s) for s in (4, 8, 16, 32)]
    samples = demo_batch([BOXES, BOXES])['data_samples']
    for counts in ((0, 4), (0, 0)):
        proposals = [
            InstanceData(bboxes=torch.tensor(BOXES[:n]).float().view(-1, 4))
            for n in counts
        ]
        with torch.no_grad():
            found = head.predict(feats, proposals, samples)
        assert [len(f) > 0 for f in found] == [n > 0 for n in counts]


def test_a_stage_of_the_cascade_has_all_losses():
    model = detector(CASCADE).train()
    losses = losses_of(model, demo_batch([BOXES, []]))
    for stage in range(3):
        for task in ('cls_fc', 'bbox_fc', 'cls_conv', 'bbox_conv'):
            assert f's{stage}.loss_{task}' in losses
    total_loss(losses).backward()
    last = model.roi_head.bbox_head[2]
    assert last.fc_reg_fc.weight.grad.abs().sum() > 0


def test_both_classifiers_learn():
    head = build().train()
    torch.manual_seed(5)
    x = torch.randn(2, 24, 4, 3, 3)
    own = targets(24, 12)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(100):
        losses = head.loss(**head(*x), **own)
        optimizer.zero_grad()
        total_loss(losses).backward()
        optimizer.step()
    assert losses['acc_fc'] == losses['acc_conv'] == 100
