"""Converter of TSD, on random weights of the official names and shapes."""

import pytest
import torch
from helpers import read_config
from mmdet.registry import MODELS
from official_boxes import (
    META,
    as_written,
    assert_same,
    build_head,
    detectron_decode,
    official_second_stage,
)

from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.tsd import convert as converter
from mmdet_assigners.methods.tsd.functional import shift_deltas
from mmdet_assigners.utils import resolve_config

CONFIG = 'tsd-released_faster-rcnn_r{}_fpn_14e_coco'
# official name, outputs and inputs
HEAD = {
    'shared_fc.0': (256, 256 * 49),
    'delta_c.0': (256, 256),
    'delta_c.2': (98, 256),
    'delta_r.0': (256, 256),
    'delta_r.2': (2, 256),
    'shared_fcs.0': (1024, 256 * 49),
    'shared_fcs.1': (1024, 1024),
    'TSD_pc_fcs.0': (1024, 256 * 49),
    'TSD_pc_fcs.1': (1024, 1024),
    'TSD_pr_fcs.0': (1024, 256 * 49),
    'TSD_pr_fcs.1': (1024, 1024),
    'fc_cls': (81, 1024),
    'fc_reg': (324, 1024),
    'TSD_fc_cls': (81, 1024),
    'TSD_fc_reg': (324, 1024),
}


def model_of(depth=50, config=None):
    cfg = read_config(resolve_config(config or CONFIG.format(depth))).model
    cfg.backbone.init_cfg = None
    with torch.device('meta'):
        return MODELS.build(cfg)


def official(depth=50, prefix='bbox_head.'):
    """Backbone, neck and RPN have the names of mmdet; the head its own."""
    state = {
        name: torch.zeros(()).expand(value.shape)
        for name, value in model_of(depth).state_dict().items()
        if not name.startswith('roi_head')
    }
    generator = torch.Generator().manual_seed(0)
    for name, (outs, ins) in HEAD.items():
        state[f'{prefix}{name}.weight'] = torch.zeros(()).expand(outs, ins)
        bias = torch.rand(outs, generator=generator)
        state[f'{prefix}{name}.bias'] = bias
    return state


def assert_fits(ours, config):
    assert converter.guess_config(ours) == config
    expected = model_of(config=config).state_dict()
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert ours[name].shape == value.shape, name


@pytest.mark.parametrize('depth', [50, 101, 152])
def test_loads_strictly(depth):
    assert_fits(converter.convert(official(depth)), CONFIG.format(depth))


@pytest.mark.parametrize('depth', [50, 101])
def test_cascade_loads_strictly(depth):
    state = {}
    for stage in range(3):
        state |= official(depth, f'bbox_head.{stage}.')
    config = f'tsd-released_cascade-rcnn_r{depth}_fpn_21e_coco'
    assert_fits(converter.convert(state), config)
    heads = read_config(resolve_config(config)).model.roi_head.bbox_head
    assert [head.pool_mode for head in heads] == ['legacy'] * 3
    assert [head.bbox_coder.target_stds[0] for head in heads] == [
        0.1,
        0.05,
        0.033,
    ]


def test_masks_load_strictly():
    state = official()
    for i in range(4):
        state[f'mask_head.convs.{i}.conv.weight'] = torch.zeros(256, 256, 3, 3)
        state[f'mask_head.convs.{i}.conv.bias'] = torch.zeros(256)
    state['mask_head.upsample.weight'] = torch.zeros(256, 256, 2, 2)
    state['mask_head.upsample.bias'] = torch.zeros(256)
    state['mask_head.conv_logits.weight'] = torch.zeros(81, 256, 1, 1)
    state['mask_head.conv_logits.bias'] = torch.zeros(81)
    config = 'tsd-released_mask-rcnn_r50_fpn_14e_coco'
    assert_fits(converter.convert(state), config)
    roi_head = read_config(resolve_config(config)).model.roi_head
    for part in (roi_head.bbox_roi_extractor, roi_head.mask_roi_extractor):
        assert part.roi_layer.sampling_ratio == 2
        assert not part.roi_layer.aligned
    assert roi_head.mask_roi_extractor.roi_layer.output_size == 14
    assert roi_head.bbox_head.pool_mode == 'legacy'


def test_a_file(tmp_path):
    source, out = tmp_path / 'official.pth', tmp_path / 'ours.pth'
    state = {name: value.clone() for name, value in official().items()}
    torch.save(dict(state_dict=state, meta=dict(epoch=14)), source)
    assert convert_file('tsd', source, out)[1] == CONFIG.format(50)


def test_where_layers_go():
    theirs = official()
    ours = converter.convert(theirs)
    for our, their in (
        ('offset_fc', 'shared_fc.0'),
        ('cls_offset_fcs.2', 'delta_c.2'),
        ('reg_offset_fcs.0', 'delta_r.0'),
        ('tsd_cls_fcs.1', 'TSD_pc_fcs.1'),
        ('tsd_reg_fcs.0', 'TSD_pr_fcs.0'),
        ('shared_fcs.1', 'shared_fcs.1'),
    ):
        found = ours[f'roi_head.bbox_head.{our}.bias']
        assert torch.equal(found, theirs[f'bbox_head.{their}.bias'])


@pytest.mark.parametrize('prefix', ['', 'TSD_'])
def test_background_moves_to_the_end(prefix):
    theirs = official()
    ours = converter.convert(theirs)
    head = f'roi_head.bbox_head.{prefix.lower()}'
    scores, official_scores = (
        ours[f'{head}fc_cls.bias'],
        theirs[f'bbox_head.{prefix}fc_cls.bias'],
    )
    assert torch.equal(scores[:80], official_scores[1:])
    assert scores[80] == official_scores[0]
    found = ours[f'{head}fc_reg.bias']
    assert torch.equal(found, theirs[f'bbox_head.{prefix}fc_reg.bias'][4:])


def test_stages_of_a_cascade_and_masks():
    state = official(prefix='bbox_head.2.')
    state['mask_head.0.conv_logits.bias'] = torch.arange(81.0)
    ours = converter.convert(state)
    assert 'roi_head.bbox_head.2.tsd_fc_cls.bias' in ours
    assert len(ours['roi_head.bbox_head.2.tsd_fc_reg.bias']) == 320
    masks = ours['roi_head.mask_head.0.conv_logits.bias']
    assert masks.tolist() == list(range(1, 81))


def test_refuses_another_method():
    state = official() | {'bbox_head.fc_iou.bias': torch.zeros(1)}
    with pytest.raises(ValueError, match=r'1 keys are unknown: bbox_head'):
        converter.convert(state)


def test_boxes_are_those_that_the_official_code_writes():
    """Inclusive proposals, moved by delta_r, then refined."""
    count = 6
    delta_r = torch.randn(
        count, 2, generator=torch.Generator().manual_seed(5)
    ).double()
    boxes = []

    def decode(inclusive, row):
        index = next(
            (i for i, box in enumerate(boxes) if box == inclusive), None
        )
        if index is None:
            boxes.append(inclusive)
            index = len(boxes) - 1
        x1, y1, x2, y2 = inclusive
        dx = 0.1 * float(delta_r[index, 0]) * (x2 - x1 + 1)
        dy = 0.1 * float(delta_r[index, 1]) * (y2 - y1 + 1)
        return detectron_decode([x1 + dx, y1 + dy, x2 + dx, y2 + dy], row)

    rois, values, places, theirs = official_second_stage(
        (5.0, 5.0, 3.0, 3.0), decode, count
    )
    assert len(boxes) == count
    head = build_head(CONFIG.format(50), 'roi_head').bbox_head
    # the head computes the translation; here it is given
    stds = head.bbox_coder.stds
    move = shift_deltas(delta_r.float(), stds, head.gamma)
    (found,) = head.predict_by_feat(
        (rois,),
        (torch.zeros(count, 81),),
        (values + move.repeat(1, 80),),
        batch_img_metas=[META],
    )
    assert_same(as_written(found.bboxes.view(-1, 4)[places]), theirs)


def test_the_config_is_the_official_one():
    cfg = read_config(resolve_config(CONFIG.format(50))).model
    extractor = cfg.roi_head.bbox_roi_extractor.roi_layer
    assert not extractor.aligned and extractor.sampling_ratio == 2
    assert cfg.roi_head.bbox_head.pool_mode == 'legacy'
    assert cfg.test_cfg.rcnn.score_thr == 0
    anchors = build_head(CONFIG.format(50), 'rpn_head').prior_generator
    # stride 4: inclusive [-14, -14, 17, 17], and a pixel
    assert anchors.base_anchors[0][1].tolist() == [-14, -14, 18, 18]
