# Sampling-Free FCOS R-50, 1x, no centerness. The paper's details are not
# established.
# 4 GPUs x 4 images, lr 0.01.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    bbox_head=dict(
        type='SamplingFreeFCOSHead',
        prior_prob=1.45e-4,  # of the 128 images of COCO128
        loss_cls=dict(
            _delete_=True, type='CrossEntropyLoss', use_sigmoid=True
        ),
    ),
    test_cfg=dict(score_thr=0.0117),  # the prior times 81
)
mini = dict(
    model=dict(bbox_head=dict(prior_prob=0.05), test_cfg=dict(score_thr=0.05))
)
