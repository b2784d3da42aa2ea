"""The converter of ATSS on random weights of the official shapes."""

from official_weights import (
    MASKRCNN_BENCHMARK,
    assert_loads,
    assert_scalar_scales,
    maskrcnn_benchmark,
    scales,
)

OUTPUTS = dict(cls_logits=80, bbox_pred=4, centerness=1)
SAME = {
    'bbox_head.reg_convs.1.conv.bias': 'rpn.head.bbox_tower.3.bias',
    'bbox_head.reg_convs.1.gn.bias': 'rpn.head.bbox_tower.4.bias',
    'bbox_head.atss_cls.weight': 'rpn.head.cls_logits.weight',
}


def test_loads_strictly():
    theirs = maskrcnn_benchmark(OUTPUTS, 256, anchors=1, norm=True)
    scales(theirs, 'rpn.head')
    ours, _ = assert_loads('atss', theirs, MASKRCNN_BENCHMARK | SAME)
    assert_scalar_scales(ours, theirs, 'rpn.head')
