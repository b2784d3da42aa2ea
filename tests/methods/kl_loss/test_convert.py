"""Converter of KL-Loss, on random weights.

The names of Detectron are spelled out here, not read from the rules.
"""

import os
import pickle

import numpy as np
import pytest
import torch
from official_boxes import (
    META,
    as_written,
    assert_same,
    build_head,
    official_proposals,
    official_second_stage,
    rpn_boxes,
)

from mmdet_assigners import get_config
from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.kl_loss import convert as converter
from mmdet_assigners.ops.var_voting import VotingOptions, var_voting

CONFIG = 'kl-loss-released_faster-rcnn_r50-caffe_fpn_2x_coco'
BLOCKS = (3, 4, 6, 3)
LIKE = {  # ours -> theirs; all other tensors are checked by shape
    'backbone.conv1.weight': 'conv1_w',
    'backbone.bn1.weight': 'res_conv1_bn_s',
    'backbone.layer1.2.conv1.weight': 'res2_2_branch2a_w',
    'backbone.layer2.0.downsample.1.bias': 'res3_0_branch1_bn_b',
    'backbone.layer3.5.bn2.weight': 'res4_5_branch2b_bn_s',
    'backbone.layer4.1.bn3.bias': 'res5_1_branch2c_bn_b',
    'neck.lateral_convs.1.conv.bias': 'fpn_inner_res3_3_sum_lateral_b',
    'neck.lateral_convs.3.conv.bias': 'fpn_inner_res5_2_sum_b',
    'neck.fpn_convs.0.conv.bias': 'fpn_res2_2_sum_b',
    'neck.fpn_convs.2.conv.bias': 'fpn_res4_5_sum_b',
    'rpn_head.rpn_conv.bias': 'conv_rpn_fpn2_b',
    'rpn_head.rpn_reg.weight': 'rpn_bbox_pred_fpn2_w',
    'roi_head.bbox_head.shared_fcs.1.bias': 'fc7_b',
}


def official():
    """The blobs of the released model, sized as Detectron's R-50-FPN."""
    blobs = {}
    rng = np.random.default_rng(0)

    def add(name, *shape, bias=True):
        blobs[f'{name}_w'] = np.zeros(shape, np.float32)
        if bias:
            blobs[f'{name}_b'] = rng.random(shape[0], np.float32)

    def norm(name, width):
        for part in ('s', 'b'):
            blobs[f'{name}_bn_{part}'] = rng.random(width, np.float32)

    add('conv1', 64, 3, 7, 7)
    norm('res_conv1', 64)
    inputs = 64
    for stage, blocks in enumerate(BLOCKS, 2):
        width = 2**stage * 16
        for i in range(blocks):
            block = f'res{stage}_{i}_branch'
            for branch, out, size, source in (
                *([('1', 4 * width, 1, inputs)] if i == 0 else []),
                ('2a', width, 1, inputs),
                ('2b', width, 3, width),
                ('2c', 4 * width, 1, width),
            ):
                add(block + branch, out, source, size, size, bias=i == 0)
                norm(block + branch, out)
            inputs = 4 * width
        name = f'res{stage}_{blocks - 1}_sum'
        lateral = '' if stage == 5 else '_lateral'
        add(f'fpn_inner_{name}{lateral}', 256, inputs, 1, 1)
        add(f'fpn_{name}', 256, 256, 3, 3)
    add('conv_rpn_fpn2', 256, 256, 3, 3)
    add('rpn_cls_logits_fpn2', 3, 256, 1, 1)
    add('rpn_bbox_pred_fpn2', 12, 256, 1, 1)
    add('fc6', 1024, 256 * 49)
    add('fc7', 1024, 1024)
    add('cls_score', 81, 1024)
    add('bbox_pred', 324, 1024)
    add('bbox_pred_std', 324, 1024)
    blobs['fc7_w_momentum'] = np.zeros(1, np.float32)
    blobs['fc1000_w'] = np.zeros(1, np.float32)
    return blobs


def convert(blobs):
    return converter.convert(
        {k: torch.from_numpy(v) for k, v in blobs.items()}
    )


def test_loads_strictly(tmp_path):
    blobs = official()
    source, out = tmp_path / 'model_final.pkl', tmp_path / 'out.pth'
    source.write_bytes(pickle.dumps(dict(blobs=blobs, cfg='a: 1'), 2))
    assert convert_file('kl_loss', source, out)[1] == CONFIG
    ours = torch.load(out, weights_only=True)['state_dict']
    for our, their in LIKE.items():
        assert np.array_equal(ours[our].numpy(), blobs[their]), our


def test_background_moves_to_the_end():
    blobs = official()
    ours = convert(blobs)
    head = 'roi_head.bbox_head.'
    scores = ours[f'{head}fc_cls.bias'].numpy()
    assert np.array_equal(scores[:80], blobs['cls_score_b'][1:])
    assert scores[80] == blobs['cls_score_b'][0]
    for our, their in (('fc_reg', 'bbox_pred'), ('fc_alpha', 'bbox_pred_std')):
        found = ours[f'{head}{our}.bias'].numpy().reshape(80, 4)
        expected = blobs[f'{their}_b'].reshape(81, 4)
        assert np.array_equal(found, expected[1:])


def test_batch_norm_only_scales_and_shifts():
    blobs = official()
    ours = convert(blobs)
    norm = torch.nn.BatchNorm2d(64).eval()
    prefix = 'backbone.bn1.'
    own = {k.removeprefix(prefix): v for k, v in ours.items() if prefix in k}
    norm.load_state_dict(own, strict=False)
    x = torch.randn(2, 64, 3, 3)
    scale, shift = (
        torch.from_numpy(blobs[f'res_conv1_bn_{part}'])[:, None, None]
        for part in ('s', 'b')
    )
    torch.testing.assert_close(norm(x), x * scale + shift)


def test_the_config_is_the_official_one():
    """Voting as in the released code, corners exclusive everywhere."""
    nms = get_config(CONFIG).model.test_cfg.rcnn.nms
    assert nms.official_column_order
    assert not nms.get('plus_one')
    anchors = build_head(CONFIG, 'rpn_head').prior_generator.base_anchors[0]
    # Detectron's cell anchors of stride 4 and size 32, and a pixel
    assert anchors.tolist() == [
        [-22, -10, 26, 14],
        [-14, -14, 18, 18],
        [-10, -22, 14, 26],
    ]


def decode(weight):
    """Corners of Detectron's XYXY: x1, x2, y1, y2 in inclusive sides."""

    def of_box(box, delta):
        width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
        x1, x2, y1, y2 = (
            min(max(float(d) / weight, -62.5), 62.5) for d in delta
        )
        return (
            box[0] + x1 * width,
            box[1] + y1 * height,
            box[2] + x2 * width,
            box[3] + y2 * height,
        )

    return of_box


def test_proposals():
    places, values, theirs = official_proposals((0.15,) * 4, decode(1))
    assert_same(rpn_boxes(CONFIG, places, values), theirs)


def test_boxes_of_the_second_stage():
    rois, values, places, theirs = official_second_stage(
        (15.0,) * 4, decode(10)
    )
    head = build_head(CONFIG, 'roi_head').bbox_head
    (found,) = head.predict_by_feat(
        (rois,),
        (torch.zeros(len(rois), 81),),
        (values,),
        batch_img_metas=[META],
        alpha=(torch.zeros_like(values),),
    )
    assert_same(as_written(found.bboxes.view(-1, 4)[places]), theirs)


def test_voting_counts_pixels_as_the_official_code_does():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=generator) * 60
    sides = 5 + torch.rand(40, 2, generator=generator) * 40
    inclusive = torch.cat((corner, corner + sides - 1), 1)
    last = torch.tensor([0, 0, 1, 1])
    rest = (
        torch.rand(40, generator=generator),
        torch.rand(40, 4, generator=generator) + 0.5,
        torch.arange(40) % 2,
    )
    official = var_voting(inclusive, *rest, VotingOptions(plus_one=True))
    ours = var_voting(inclusive + last, *rest, VotingOptions())
    assert torch.equal(ours.index, official.index)
    torch.testing.assert_close(ours.scores, official.scores)
    torch.testing.assert_close(ours.boxes, official.boxes + last)


class Harmful:
    def __reduce__(self):
        return os.system, ('true',)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (pickle.dumps(Harmful(), 2), 'it holds posix.system'),
        (pickle.dumps([1], 2), 'is no model of Detectron'),
        (b'', 'is no model of Detectron'),
        (b'PK\x03\x04', 'is no model of Detectron'),
    ],
)
def test_refuses_another_file(tmp_path, content, message):
    path = tmp_path / 'model.pkl'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        converter.read(str(path))


def test_refuses_another_method():
    blobs = official() | {'kps_score_w': np.zeros(1, np.float32)}
    with pytest.raises(ValueError, match=r'1 keys are unknown: kps_score'):
        convert(blobs)
