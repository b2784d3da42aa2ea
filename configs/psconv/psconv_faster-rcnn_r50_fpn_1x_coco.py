# TODO(new-method) row of the paper, its AP, GPUs x images, lr
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
# the arguments of ResNet stay, hence no _delete_
model = dict(backbone=dict(type='PSConvBackbone'))
auto_scale_lr = dict(base_batch_size=16)
