# AutoAssign R-50, 1x: AP 40.5 on val in the official README, 40.4 in mmdet's.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::autoassign/autoassign_r50-caffe_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(bbox_head=dict(type='AutoAssignAblationHead'))
auto_scale_lr = dict(base_batch_size=16)
