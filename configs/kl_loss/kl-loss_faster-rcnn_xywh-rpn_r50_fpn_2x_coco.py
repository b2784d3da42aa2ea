# The ordinary box coder in the RPN; the official code regresses corners there
# too. Not in the paper.
# 8 GPUs x 2 images, lr 0.02.
_base_ = './kl-loss_faster-rcnn_r50_fpn_2x_coco.py'
model = dict(
    rpn_head=dict(
        bbox_coder=dict(
            _delete_=True, type='DeltaXYWHBBoxCoder', target_stds=[1.0] * 4
        )
    )
)
