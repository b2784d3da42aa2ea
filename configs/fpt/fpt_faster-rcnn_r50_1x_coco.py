# FPT, Faster R-CNN. mmdet's baseline: 37.4.
# 8 GPUs x 2 images, lr 0.02 (the baseline's).
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    neck=dict(
        _delete_=True,
        type='FPT',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=5,
        similarity_scale=1 / 16,  # 1 / sqrt(256): see the README
        norm_cfg=dict(type='SyncBN'),
    ),
    train_cfg=dict(rpn=dict(assigner=dict(type='BoundedMaxIoUAssigner'))),
)
# on a CPU dropout takes as long as the attention itself
mini = dict(model=dict(neck=dict(norm_cfg=dict(type='BN'), dropout=0.0)))
