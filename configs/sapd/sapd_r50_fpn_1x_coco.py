# SAPD R-50 (SW + SS), 1x. 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    type='SingleStageDetector',
    bbox_head=dict(
        _delete_=True,
        type='SAPDHead',
        num_classes=80,
        in_channels=256,
        feat_channels=256,
        stacked_convs=4,  # as FSAF; a summary of the paper says 5
        strides=[8, 16, 32, 64, 128],
        eps=0.2,
        eta=1.0,
        topk=3,
    ),
    train_cfg=None,
)
custom_hooks = [dict(type='TrainProgressHook')]  # soft levels from half time
auto_scale_lr = dict(base_batch_size=16)
# in images of a quarter of the size many shrunk boxes hold no point; the bias
# is that of the baseline, mmdet's FSAF
mini = dict(model=dict(bbox_head=dict(min_one_cell=True, distance_bias=0.25)))
