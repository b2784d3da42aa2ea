"""The converter of Sampling-Free on random weights of official shapes."""

import pytest
import torch
from official_boxes import (
    META,
    as_written,
    assert_retinanet_of_maskrcnn_benchmark,
    assert_same,
    build_head,
    detectron_decode,
    official_proposals,
    official_second_stage,
    rpn_boxes,
)
from official_weights import (
    MASKRCNN_BENCHMARK,
    MASKRCNN_BENCHMARK_RCNN,
    assert_loads,
    conv,
    linear,
    maskrcnn_benchmark,
    maskrcnn_benchmark_rcnn,
)

from mmdet_assigners.conversion import convert_file
from mmdet_assigners.utils import config_path

RELEASED = 'sampling-free-released_{}_r{}-caffe_fpn_1x_coco'
OUTPUTS = dict(cls_logits=720, bbox_pred=36)
SAME = {
    'bbox_head.cls_convs.3.conv.bias': 'rpn.head.cls_tower.6.bias',
    'bbox_head.retina_reg.bias': 'rpn.head.bbox_pred.bias',
}
RCNN = MASKRCNN_BENCHMARK_RCNN | {
    'roi_head.bbox_head.shared_fcs.0.bias': (
        'roi_heads.box.feature_extractor.fc6.bias'
    ),
}
MASK = {
    'roi_head.mask_head.convs.2.conv.weight': (
        'roi_heads.mask.feature_extractor.mask_fcn3.weight'
    )
}


def official_rcnn(masks):
    """Faster or Mask R-CNN."""
    state = maskrcnn_benchmark_rcnn()
    box = 'roi_heads.box'
    linear(state, f'{box}.feature_extractor.fc6', 1024, 256 * 49)
    linear(state, f'{box}.feature_extractor.fc7', 1024, 1024)
    linear(state, f'{box}.predictor.cls_score', 81, 1024)
    linear(state, f'{box}.predictor.bbox_pred', 324, 1024)
    if masks:
        mask = 'roi_heads.mask'
        for i in range(1, 5):
            conv(state, f'{mask}.feature_extractor.mask_fcn{i}', 256, 256, 3)
        conv(state, f'{mask}.predictor.conv5_mask', 256, 256, 2)
        conv(state, f'{mask}.predictor.mask_fcn_logits', 81, 256, 1)
    return state


def test_retinanet_loads_strictly():
    theirs = maskrcnn_benchmark(OUTPUTS, 2048, anchors=9, norm=False)
    assert_loads('sampling_free', theirs, MASKRCNN_BENCHMARK | SAME)


def test_voc(tmp_path):
    """The files of VOC fit the README's config."""
    outputs = OUTPUTS | dict(cls_logits=180)
    theirs = maskrcnn_benchmark(outputs, 2048, anchors=9, norm=False)
    config, source = tmp_path / 'voc.py', tmp_path / 'in.pth'
    base = config_path(RELEASED.format('retinanet', 50))
    config.write_text(
        f"_base_ = '{base}'\nmodel = dict(bbox_head=dict(num_classes=20))"
    )
    torch.save(dict(model=theirs), source)
    with pytest.raises(ValueError, match=r'retina_cls\.weight \(180, '):
        convert_file('sampling_free', source, tmp_path / 'out.pth')
    out = tmp_path / 'out.pth'
    _, found = convert_file('sampling_free', source, out, str(config))
    assert found == str(config) and out.is_file()


@pytest.mark.parametrize('masks', [False, True])
def test_rcnn_loads_strictly(masks):
    theirs = official_rcnn(masks)
    same = RCNN | MASK if masks else RCNN
    ours, config = assert_loads('sampling_free', theirs, same)
    assert ('mask-rcnn' in config) == masks
    # their class 0 is the background; ours is the last, and has no box
    scores = theirs['roi_heads.box.predictor.cls_score.bias']
    assert torch.equal(
        ours['roi_head.bbox_head.fc_cls.bias'],
        torch.cat((scores[1:], scores[:1])),
    )
    deltas = theirs['roi_heads.box.predictor.bbox_pred.bias']
    assert torch.equal(ours['roi_head.bbox_head.fc_reg.bias'], deltas[4:])
    if masks:
        logits = theirs['roi_heads.mask.predictor.mask_fcn_logits.bias']
        assert torch.equal(
            ours['roi_head.mask_head.conv_logits.bias'], logits[1:]
        )


@pytest.mark.parametrize('depth', [50, 101])
def test_boxes_of_retinanet(depth):
    assert_retinanet_of_maskrcnn_benchmark(RELEASED.format('retinanet', depth))


def decode(anchor, delta):
    return detectron_decode(anchor, delta, (1.0, 1.0, 1.0, 1.0))


@pytest.mark.parametrize('model', ['faster-rcnn', 'mask-rcnn'])
def test_proposals(model):
    places, values, theirs = official_proposals((0.3, 0.3, 0.6, 0.6), decode)
    config = RELEASED.format(model, 50)
    assert_same(rpn_boxes(config, places, values), theirs)


@pytest.mark.parametrize('model', ['faster-rcnn', 'mask-rcnn'])
def test_boxes_of_the_second_stage(model):
    rois, values, places, theirs = official_second_stage(
        (9.0, 9.0, 3.0, 3.0), detectron_decode
    )
    head = build_head(RELEASED.format(model, 50), 'roi_head').bbox_head
    (found,) = head.predict_by_feat(
        (rois,),
        (torch.zeros(len(rois), 81),),
        (values,),
        batch_img_metas=[META],
    )
    assert_same(as_written(found.bboxes.view(-1, 4)[places]), theirs)
