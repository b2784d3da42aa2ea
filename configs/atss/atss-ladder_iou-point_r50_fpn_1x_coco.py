# Table 2: positives by IoU, regression from a point: AP 36.9 on val.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_iou-box_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        bbox_coder=dict(
            _delete_=True, type='AnchorPointCoder', octave_base_scale=8
        )
    )
)
