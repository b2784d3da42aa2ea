# FSAF joint (anchor-based + anchor-free, online selection), R-50 1x: AP 37.2
# on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(type='RetinaFSAFHead'),
    train_cfg=dict(  # the same thresholds, batched
        assigner=dict(
            _delete_=True,
            type='BatchMaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
        )
    ),
)
auto_scale_lr = dict(base_batch_size=16)
# bias of mmdet's FSAF
mini = dict(model=dict(bbox_head=dict(distance_bias=0.25)))
