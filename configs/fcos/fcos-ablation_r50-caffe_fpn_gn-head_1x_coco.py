# FCOS R-50, centerness from an own branch, GN, extra levels from P5, NMS 0.6:
# AP 37.1 on val in the paper and the official README.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='FCOSAblationHead'),
    test_cfg=dict(nms=dict(iou_threshold=0.6)),  # mmdet's config has 0.5
)
auto_scale_lr = dict(base_batch_size=16)
