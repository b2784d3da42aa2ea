import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_model, total_loss
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_assigners.methods.sepc.pair_features import PickFeature
from mmdet_assigners.utils import config_path

PARENTS = {
    'SEPCRetinaHead': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'SEPCFSAFHead': 'fsaf/fsaf_r50_fpn_1x_coco.py',
    'SEPCFreeAnchorRetinaHead': 'free_anchor/freeanchor_r50_fpn_1x_coco.py',
    'SEPCATSSHead': 'atss/atss_r50_fpn_1x_coco.py',
}
CONFIGS = {
    'SEPCRetinaHead': 'sepc_retinanet_r50_fpn_1x_coco',
    'SEPCFSAFHead': 'sepc_fsaf_r50_fpn_1x_coco',
    'SEPCFreeAnchorRetinaHead': 'sepc_freeanchor_r50_fpn_1x_coco',
    'SEPCATSSHead': 'sepc_atss_r50_fpn_1x_coco',
}
heads = pytest.mark.parametrize('name', PARENTS)


def head_of(name, **changes):
    """The baseline's head with a type and keys of our own."""
    init_default_scope('mmdet')
    cfg = Config.fromstring(f"_base_ = 'mmdet::{PARENTS[name]}'", '.py').model
    cfg.bbox_head.update(
        num_classes=2, in_channels=32, feat_channels=32, **changes
    )
    cfg.test_cfg.score_thr = 0.0  # untrained: some boxes
    for key in ('train_cfg', 'test_cfg'):
        cfg.bbox_head[key] = cfg[key]
    torch.manual_seed(0)
    head = MODELS.build(cfg.bbox_head)
    head.init_weights()
    return head


def features(seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]
    return [torch.randn(2, 32, *s, generator=generator) for s in sizes]


@heads
@pytest.mark.parametrize('stacked_convs', [0, 2])
def test_equals_the_parent_on_single_features(name, stacked_convs):
    """Same names, and bit for bit the same outputs, losses and boxes."""
    ours = head_of(name, type=name, stacked_convs=stacked_convs)
    parent = head_of(name, stacked_convs=stacked_convs)
    assert type(parent) in type(ours).__mro__[1:]
    ours.load_state_dict(parent.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(parent.state_dict())
    samples = demo_batch([BOXES, BOXES[:2]])['data_samples']
    results = []
    for head in (ours, parent):
        x = features()
        outs = head(x)
        losses = head.loss(x, samples)
        total_loss(losses).backward()
        with torch.no_grad():
            boxes = head.predict(x, samples)
        results.append((outs, losses, boxes, head))
    (outs, losses, boxes, _), (outs_p, losses_p, boxes_p, _) = results
    for kind, kind_p in zip(outs, outs_p, strict=True):
        for level, level_p in zip(kind, kind_p, strict=True):
            assert torch.equal(level, level_p)
    assert losses.keys() == losses_p.keys()
    assert total_loss(losses) == total_loss(losses_p)
    for image, image_p in zip(boxes, boxes_p, strict=True):
        assert len(image_p)
        assert torch.equal(image.bboxes, image_p.bboxes)
        assert torch.equal(image.scores, image_p.scores)
    for mine, theirs in zip(
        ours.parameters(), parent.parameters(), strict=True
    ):
        assert torch.equal(mine.grad, theirs.grad)


@heads
@pytest.mark.parametrize('stacked_convs', [0, 2])
def test_each_branch_reads_its_feature(name, stacked_convs):
    head = head_of(name, type=name, stacked_convs=stacked_convs)
    cls_feats, reg_feats = features(1), features(2)
    scores, *others = head(list(zip(cls_feats, reg_feats, strict=True)))
    scores_alone = head(cls_feats)[0]
    others_alone = head(reg_feats)[1:]
    for level, alone in zip(scores, scores_alone, strict=True):
        assert torch.equal(level, alone)
    # boxes, and centerness where the head has one
    for kind, kind_alone in zip(others, others_alone, strict=True):
        for level, alone in zip(kind, kind_alone, strict=True):
            assert torch.equal(level, alone)


def test_tower_rejects_anything_else():
    pick = PickFeature(1)
    x = torch.zeros(1)
    assert pick(x) is x
    assert pick((None, x)) is pick([None, x]) is x
    with pytest.raises(TypeError, match=r'pair of tensors, got tuple of 3'):
        pick((x, x, x))
    with pytest.raises(TypeError, match='pair of tensors, got dict'):
        pick(dict(cls=x))


@heads
def test_detector_of_the_config(name):
    """Loss with and without objects, prediction, smaller maps."""
    model = mini_model(config_path(CONFIGS[name]))
    assert type(model.bbox_head).__name__ == name
    model.train()
    batch = demo_batch([BOXES, BOXES[:1]])
    losses = losses_of(model, batch)
    total_loss(losses).backward()
    without = [
        parameter_name
        for parameter_name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]
    assert not without
    empty = losses_of(model, demo_batch([[], []]))
    assert empty.keys() == losses.keys()
    assert torch.isfinite(total_loss(empty))
    model.eval()
    model.bbox_head.test_cfg.score_thr = 0.0
    with torch.no_grad():
        data = model.data_preprocessor(demo_batch([BOXES]), False)
        (sample,) = model(**data, mode='predict')
    boxes = sample.pred_instances.bboxes
    assert len(boxes) and torch.isfinite(boxes).all()


def test_maps_without_padding_keep_the_anchor_origin():
    """The released weights: two cells less, anchors from cell 0 on."""
    model = mini_model(config_path('sepc-released_retinanet_r50_fpn_1x_coco'))
    model.eval()
    x = model.extract_feat(torch.randn(1, 3, 384, 384))
    assert [pair[0].shape[-1] for pair in x] == [46, 22, 10, 4, 1]
    scores, _ = model.bbox_head(x)
    anchors = model.bbox_head.prior_generator.grid_priors(
        [score.shape[-2:] for score in scores], device='cpu'
    )
    # ratio 1, side 32; in mmdet 1.x around (3.5, 3.5), its last pixel is 19
    assert anchors[0][3].tolist() == [-12, -12, 20, 20]
    assert len(anchors[0]) == 46 * 46 * 9


@pytest.mark.parametrize('strict', [False, True])
def test_export(strict):
    """torch.export follows the towers (no deformable operator here)."""
    head = head_of('SEPCRetinaHead', type='SEPCRetinaHead', stacked_convs=2)
    pairs = list(zip(features(1), features(2), strict=True))
    exported = torch.export.export(head, (pairs,), strict=strict)
    expected, found = head(pairs), exported.module()(pairs)
    for kind, kind_found in zip(expected, found, strict=True):
        for a, b in zip(kind, kind_found, strict=True):
            torch.testing.assert_close(a, b)


def test_compile():
    head = head_of('SEPCATSSHead', type='SEPCATSSHead', stacked_convs=1)
    pairs = list(zip(features(1), features(2), strict=True))
    compiled = torch.compile(head, backend='eager', fullgraph=True)
    for kind, expected in zip(compiled(pairs), head(pairs), strict=True):
        for a, b in zip(kind, expected, strict=True):
            torch.testing.assert_close(a, b)
