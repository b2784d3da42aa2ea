# Table 2a on FCOS: Gaussian: AP 38.6 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl_ctr-branch_gaussian_r50_fpn_1x_coco.py'
model = dict(
    train_cfg=dict(
        assigner=dict(_delete_=True, type='SSCAssigner', center_radius=1.5)
    )
)
