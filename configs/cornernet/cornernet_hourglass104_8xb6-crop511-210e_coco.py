# CornerNet, Hourglass-104, as in mmdet. AP 41.2 with the flip test.
# 8 GPUs x 6 images, lr 0.0005.
_base_ = [
    'mmdet::cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py',
    '../_base_/centernet_parts.py',
    '../_base_/cornernet_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(bbox_head=dict(type='CornerPairHead'))
mini = dict(_base_.keypoint_mini, model=_base_.narrow_hourglass)
