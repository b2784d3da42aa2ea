# PBM with R2NMS on any COCO file with `vis_bbox` or `full_bbox`: name it by
# `--data`. Not in the paper.
# 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/pbm_parts.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    rpn_head=_base_.pbm_rpn_head,
    roi_head=_base_.pbm_roi_head,
    train_cfg=_base_.pbm_train_cfg,
    test_cfg=_base_.pbm_test_cfg,
)
train_dataloader = dict(
    dataset=dict(type='PairedCocoDataset', pipeline=_base_.pbm_coco_pipeline)
)
val_evaluator = dict(type='PairedCocoMetric')
test_evaluator = val_evaluator
mini = _base_.pbm_mini
small = _base_.pbm_small
