# ATSS, R-50 (RetinaNet #A=1 with the improvements, positives by ATSS):
# AP 39.3 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='ATSSLadderHead'),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='BatchATSSAssigner', topk=9)
    ),
)
auto_scale_lr = dict(base_batch_size=16)
