"""Official BorderDet checkpoint (Megvii-BaseDetection/BorderDet) -> ours.

``mmdet-assigners convert borderdet official.pth out.pth``

A cvpods model. No tensor changes; the scales of the levels lose an axis.
"""

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import DETECTRON2, scalar_scales, tower

RULES = (
    *DETECTRON2,
    *(
        (
            # modulated deformable: offsets and masks
            rf'backbone\.bottom_up\.res{i + 1}\.(\d+)\.conv2_offset\.(.+)',
            rf'backbone.layer{i}.\1.conv2.conv_offset.\2',
        )
        for i in range(1, 5)
    ),
    *tower(r'head\.cls_subnet', 'cls_convs', norm=True),
    *tower(r'head\.bbox_subnet', 'reg_convs', norm=True),
    (r'head\.cls_score\.(.+)', r'bbox_head.conv_cls.\1'),
    (r'head\.bbox_pred\.(.+)', r'bbox_head.conv_reg.\1'),
    (r'head\.centerness\.(.+)', r'bbox_head.conv_centerness.\1'),
    (r'head\.((?:scales|border_\w+)\..+)', r'bbox_head.\1'),
    (r'shift_generator\..+', None),
)


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return scalar_scales(rename(state, RULES))


def guess_config(state: State) -> str:
    """The row of the table that a (converted) file belongs to."""
    weight = state.get('backbone.layer3.22.conv2.weight')
    if weight is None:
        return 'borderdet_r50-caffe_fpn_1x_coco'
    groups = weight.shape[0] // weight.shape[1]
    if groups == 1:
        return 'borderdet_r101-caffe_fpn_ms-2x_coco'
    width = '32x8d' if groups == 32 else '64x4d'
    if 'backbone.layer3.0.conv2.conv_offset.weight' in state:
        width += '-dcnv2'
    return f'borderdet-released_x101-{width}_fpn_ms-2x_coco'
