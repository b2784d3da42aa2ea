# Tables 1a and 2a on FCOS, the baseline: AP 38.5 on val. Center sampling is
# assumed. 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl_ctr-branch_dirac_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(bbox_coder=dict(type='AnchorPointCoder')),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='SSCAssigner', center_radius=1.5)
    ),
)
