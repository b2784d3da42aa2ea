"""The converter of DR Loss on random weights of the official shapes."""

import torch
from official_boxes import assert_retinanet_of_maskrcnn_benchmark
from official_weights import assert_loads, build

CONFIG = 'dr-loss-released_retinanet_r50-caffe_fpn_1x_coco'
NAMES = {  # ours -> theirs
    'neck.lateral_convs.0.conv': 'backbone.fpn.fpn_inner2',
    'neck.lateral_convs.1.conv': 'backbone.fpn.fpn_inner3',
    'neck.lateral_convs.2.conv': 'backbone.fpn.fpn_inner4',
    'neck.fpn_convs.0.conv': 'backbone.fpn.fpn_layer2',
    'neck.fpn_convs.1.conv': 'backbone.fpn.fpn_layer3',
    'neck.fpn_convs.2.conv': 'backbone.fpn.fpn_layer4',
    'neck.fpn_convs.3.conv': 'backbone.fpn.top_blocks.p6',
    'neck.fpn_convs.4.conv': 'backbone.fpn.top_blocks.p7',
    'bbox_head.cls_convs.0.conv': 'rpn.head.cls_tower.0',
    'bbox_head.cls_convs.1.conv': 'rpn.head.cls_tower.2',
    'bbox_head.cls_convs.2.conv': 'rpn.head.cls_tower.4',
    'bbox_head.cls_convs.3.conv': 'rpn.head.cls_tower.6',
    'bbox_head.reg_convs.0.conv': 'rpn.head.bbox_tower.0',
    'bbox_head.reg_convs.1.conv': 'rpn.head.bbox_tower.2',
    'bbox_head.reg_convs.2.conv': 'rpn.head.bbox_tower.4',
    'bbox_head.reg_convs.3.conv': 'rpn.head.bbox_tower.6',
    'bbox_head.retina_cls': 'rpn.head.cls_logits',
    'bbox_head.retina_reg': 'rpn.head.bbox_pred',
}


def official_name(name):
    module, _, parameter = name.rpartition('.')
    if module in NAMES:
        return f'{NAMES[module]}.{parameter}'
    name = name.removeprefix('backbone.')
    stem = '' if name.startswith('layer') else 'stem.'
    return f'backbone.body.{stem}{name}'


def test_loads_strictly():
    tensors = build(CONFIG).state_dict()
    same = {
        name: official_name(name)
        for name in tensors
        if not name.endswith('num_batches_tracked')
    }
    theirs = {t: torch.randn(tensors[o].shape) for o, t in same.items()}
    assert_loads('dr_loss', theirs, same, CONFIG)


def test_boxes_of_the_official_result_file():
    assert_retinanet_of_maskrcnn_benchmark(CONFIG)
