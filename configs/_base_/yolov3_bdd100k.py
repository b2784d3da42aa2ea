"""YOLOv3 on BDD100K as in Gaussian YOLOv3: data, anchors, schedule, metric.

COCO-format files of the labels of 2018 whose categories come in this order:
mmdet numbers classes as the annotation file does. Officially 500 200 steps,
lower lr from 400 000 and 450 000.
"""

_base_ = 'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'
bdd_head = dict(
    num_classes=10,
    anchor_generator=dict(
        type='YOLOAnchorGenerator',
        base_sizes=[
            [(73, 175), (141, 178), (144, 291)],
            [(32, 97), (57, 64), (92, 109)],
            [(7, 10), (14, 24), (27, 43)],
        ],
        strides=[32, 16, 8],
    ),
)
# the thresholds of the paper's BDD numbers (official issue 30)
model = dict(test_cfg=dict(score_thr=0.001, conf_thr=0.001))
_classes = ('bike', 'bus', 'car', 'motor', 'person', 'rider')
_classes += ('traffic light', 'traffic sign', 'train', 'truck')
_data = dict(data_root='data/bdd100k/', metainfo=dict(classes=_classes))
train_dataloader = dict(
    dataset=dict(
        _data,
        ann_file='annotations/bdd100k_train.json',
        data_prefix=dict(img='images/100k/train/'),
    )
)
val_dataloader = dict(
    dataset=dict(
        _data,
        ann_file='annotations/bdd100k_val.json',
        data_prefix=dict(img='images/100k/val/'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(512, 512), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                type='PackDetInputs',
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                ),
            ),
        ],
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(
    _delete_=True, type='VOCMetric', iou_thrs=0.75, eval_mode='area'
)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=458)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[366, 412], gamma=0.1),
]
