# PBM with R2NMS on CrowdHuman: AP 89.29, MR-2 43.35, recall 93.33 on val in
# the paper, whose schedule is not public; this one is mmdet's of CrowdDet.
# 8 GPUs x 2 images, lr 0.002.
_base_ = ['../_base_/crowdhuman_faster.py', '../_base_/pbm_parts.py']
model = dict(
    data_preprocessor=dict(
        batch_augments=[
            dict(
                type='PairedBatchResize',
                scale=(1400, 800),
                pad_size_divisor=64,
            )
        ]
    ),
    rpn_head=_base_.pbm_rpn_head,
    roi_head=_base_.pbm_roi_head,
    train_cfg=_base_.pbm_train_cfg,
    test_cfg=_base_.pbm_test_cfg,
)
train_dataloader = dict(dataset=dict(pipeline=_base_.pbm_crowdhuman_pipeline))
mini = _base_.pbm_mini
small = _base_.pbm_small
