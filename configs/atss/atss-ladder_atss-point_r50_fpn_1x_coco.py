# Table 3: FCOS with ATSS: AP 39.2 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        bbox_coder=dict(
            _delete_=True, type='AnchorPointCoder', octave_base_scale=8
        )
    )
)
