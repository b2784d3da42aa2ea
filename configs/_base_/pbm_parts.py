"""Parts of PBM: models and data of pairs of boxes."""

_pbm_coder = dict(type='PairedDeltaXYWHBBoxCoder')
# mmdet's head on CrowdHuman is replaced, and its stds with it
_pbm_roi_coder = dict(_pbm_coder, target_stds=[0.1, 0.1, 0.2, 0.2])
_pbm_assigner = dict(_delete_=True, type='PairedMaxIoUAssigner')
pbm_rpn_head = dict(type='PairedRPNHead', bbox_coder=_pbm_coder)
pbm_roi_head = dict(
    type='PairedRoIHead',
    bbox_roi_extractor=dict(type='PairedRoIExtractor'),
    bbox_head=dict(
        type='PairedBBoxHead', in_channels=512, bbox_coder=_pbm_roi_coder
    ),
)
pbm_train_cfg = dict(
    rpn=dict(
        assigner=dict(
            _pbm_assigner,
            pos_iou_thr=0.7,
            neg_iou_thr=0.3,
            visible_thr=0.7,
            min_pos_iou=0.3,
            match_low_quality=True,
        )
    ),
    rcnn=dict(
        assigner=dict(
            _pbm_assigner,
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            visible_thr=0.5,
            visible_metric='iou',
            half_match='negative',
        )
    ),
)
pbm_test_cfg = dict(rcnn=dict(nms=dict(type='r2nms', iou_threshold=0.5)))

_pbm_load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='LoadVisibleBoxes'),
]
_pbm_flip = dict(type='RandomFlip', prob=0.5)
_pbm_pack = dict(type='PackPairedInputs')
pbm_crowdhuman_pipeline = [*_pbm_load, _pbm_flip, _pbm_pack]
pbm_coco_pipeline = [
    *_pbm_load,
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    _pbm_flip,
    _pbm_pack,
]
# small datasets are COCO files: full boxes are learned and evaluated
_pbm_metric = dict(type='PairedCocoMetric', metric='bbox')


def _pbm_small(scale):
    resize = dict(type='Resize', scale=scale, keep_ratio=True)
    pipeline = [*_pbm_load, resize, _pbm_flip, _pbm_pack]
    dataset = dict(type='PairedCocoDataset', pipeline=pipeline)
    return dict(
        train_dataloader=dict(dataset=dataset),
        val_evaluator=_pbm_metric,
        test_evaluator=_pbm_metric,
    )


_pbm_tests = {
    f'{part}_dataloader': dict(
        dataset=dict(
            type='PairedCocoDataset',
            pipeline=[
                _pbm_load[0],
                dict(type='Resize', scale=(320, 240), keep_ratio=True),
                _pbm_load[1],
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
    for part in ('val', 'test')
}
_pbm_one_size = dict(batch_augments=None, pad_size_divisor=32)
pbm_mini = dict(
    _pbm_small((320, 240)),
    model=dict(data_preprocessor=_pbm_one_size),
    **_pbm_tests,
)
pbm_small = _pbm_small((480, 360))
