# AP-loss under ATSS R-50: not in the paper. mmdet's ATSS: 39.4.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='RankingATSSHead',
        loss_cls=dict(_delete_=True, type='APLoss', use_sigmoid=True),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='BatchATSSAssigner', topk=9)
    ),
    test_cfg=dict(score_thr=0.01),
)
