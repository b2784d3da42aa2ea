# Tables 2a and 3: DFL alone, class scores times a predicted centerness: AP
# 39.5 on val. 8 GPUs x 2 images, lr 0.01.
_base_ = './gfl-ablation_r50_fpn_1x_coco.py'
model = dict(
    bbox_head=dict(
        quality='centerness_branch',
        loss_cls=dict(
            _delete_=True,
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0,
        ),
    )
)
