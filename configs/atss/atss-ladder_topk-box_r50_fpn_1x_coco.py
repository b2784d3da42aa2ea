# The definition TOPK of the official code; no number in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './atss-ladder_r50_fpn_1x_coco.py'
model = dict(
    train_cfg=dict(
        assigner=dict(_delete_=True, type='TopkIoUAssigner', topk=9)
    )
)
