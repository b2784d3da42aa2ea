"""The converter of Double-Head-Ext on random weights of official shapes."""

import pytest
import torch
from official_boxes import (
    META,
    as_written,
    assert_same,
    build_head,
    detectron_decode,
    official_proposals,
    official_second_stage,
    rpn_boxes,
)
from official_weights import (
    MASKRCNN_BENCHMARK_RCNN,
    assert_loads,
    conv,
    frozen_bn,
    linear,
    maskrcnn_benchmark_rcnn,
)

from mmdet_assigners.conversion import load_converter

RELEASED = 'double-head-ext-released_faster-rcnn_r{}-caffe_fpn_1x_coco'
FEATURES = 'roi_heads.box.feature_extractor.'
PREDICTOR = 'roi_heads.box.predictor.'
HEAD = 'roi_head.bbox_head.'
SAME = {  # ours -> theirs
    f'{HEAD}{ours}': f'{FEATURES}{theirs}'
    for ours, theirs in {
        'res_block.conv_identity.conv.weight': 'nonlocal_conv.top.0.weight',
        'res_block.conv_identity.bn.bias': 'nonlocal_conv.top.1.bias',
        'res_block.conv1.bn.running_var': 'nonlocal_conv.bottom.1.running_var',
        'res_block.conv2.bn.bias': 'nonlocal_conv.bottom.4.bias',
        'nonlocal_branch.0.theta.weight': 'shared_nonlocal.0.theta.weight',
        'nonlocal_branch.1.phi.bias': 'shared_nonlocal.1.phi.bias',
        'nonlocal_branch.1.g.bias': 'shared_nonlocal.1.g.bias',
        'nonlocal_branch.0.out.bias': 'shared_nonlocal.0.W.0.bias',
        'nonlocal_branch.0.bn.weight': 'shared_nonlocal.0.W.bn.weight',
        'conv_branch.0.bn1.bias': 'shared_nonlocal.0.ffconv.bottleneck.1.bias',
        'conv_branch.1.bn2.bias': 'shared_nonlocal.1.ffconv.bottleneck.4.bias',
        'conv_branch.1.bn3.bias': 'shared_nonlocal.1.ffconv.bottleneck.7.bias',
        'fc_branch.0.bias': 'fc6.bias',
        'fc_branch.1.bias': 'fc7.bias',
    }.items()
}


def bottleneck(state, name, layers):
    """Convolutions (out, in, size), each with a batch norm behind."""
    for index, (out, inputs, size) in layers:
        conv(state, f'{name}.{index}', out, inputs, size, bias=False)
        frozen_bn(state, f'{name}.{index + 1}', out)


def official():
    state = maskrcnn_benchmark_rcnn()
    top = f'{FEATURES}nonlocal_conv'
    bottleneck(state, f'{top}.top', [(0, (1024, 256, 1))])
    bottleneck(
        state, f'{top}.bottom', [(0, (256, 256, 3)), (3, (1024, 256, 1))]
    )
    for i in range(2):
        block = f'{FEATURES}shared_nonlocal.{i}'
        for name in ('g', 'theta', 'phi'):
            conv(state, f'{block}.{name}', 512, 1024, 1)
        conv(state, f'{block}.W.0', 1024, 512, 1)
        frozen_bn(state, f'{block}.W.bn', 1024)
        bottleneck(
            state,
            f'{block}.ffconv.bottleneck',
            [(0, (256, 1024, 1)), (3, (256, 256, 3)), (6, (1024, 256, 1))],
        )
    linear(state, f'{FEATURES}fc6', 1024, 256 * 49)
    linear(state, f'{FEATURES}fc7', 1024, 1024)
    for name in ('', '_fc'):
        linear(state, f'{PREDICTOR}cls_score{name}', 81, 1024)
        linear(state, f'{PREDICTOR}bbox_pred{name}', 324, 1024)
    return state


def test_loads_strictly():
    theirs = official()
    ours, _ = assert_loads(
        'double_head',
        theirs,
        MASKRCNN_BENCHMARK_RCNN | SAME,
        RELEASED.format(50),
    )
    # their class 0 is the background; ours is the last, and has no box
    for our, their in (('_conv', ''), ('', '_fc')):
        scores = theirs[f'{PREDICTOR}cls_score{their}.bias']
        expected = torch.cat((scores[1:], scores[:1]))
        assert torch.equal(ours[f'{HEAD}fc_cls{our}.bias'], expected)
    for our, their in (('', ''), ('_fc', '_fc')):
        deltas = theirs[f'{PREDICTOR}bbox_pred{their}.bias']
        assert torch.equal(ours[f'{HEAD}fc_reg{our}.bias'], deltas[4:])


def test_depth_is_found():
    guess = load_converter('double_head').guess_config
    state = {'backbone.layer3.22.conv1.weight': torch.zeros(1)}
    assert guess(state) == RELEASED.format(101)
    assert guess({}) == RELEASED.format(50)


@pytest.mark.parametrize('depth', [50, 101])
def test_proposals(depth):
    places, values, theirs = official_proposals(
        (0.3, 0.3, 0.6, 0.6),
        lambda anchor, delta: detectron_decode(anchor, delta, (1.0,) * 4),
    )
    assert_same(rpn_boxes(RELEASED.format(depth), places, values), theirs)


def test_boxes_of_the_second_stage():
    rois, values, places, theirs = official_second_stage(
        (9.0, 9.0, 3.0, 3.0), detectron_decode
    )
    head = build_head(RELEASED.format(50), 'roi_head').bbox_head
    scores = torch.zeros(len(rois), 81)
    (found,) = head.predict_by_feat(
        (rois,),
        (scores,),
        (values,),
        batch_img_metas=[META],
        cls_score_conv=(scores,),
        bbox_pred_fc=(torch.zeros_like(values),),
    )
    assert_same(as_written(found.bboxes.view(-1, 4)[places]), theirs)
