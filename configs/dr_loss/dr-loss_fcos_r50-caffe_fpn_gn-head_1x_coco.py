# DR loss under FCOS R-50: not in the paper. mmdet's FCOS: 36.6.
# 8 GPUs x 2 images, lr 0.01.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='RankingFCOSHead',
        loss_cls=dict(_delete_=True, type='DRLoss', use_sigmoid=True),
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01, bias=0),
    ),
    test_cfg=dict(score_thr=0.2),
)
