# F-DSC R-50, 1x: box AP 44.5, mask AP 39.5 on val in the official README.
# 8 GPUs x 2 images, lr 0.02. Needs COCO's stuffthingmaps.
_base_ = './dsc_r50_fpn_1x_coco.py'
model = dict(
    roi_head=dict(
        mpn_roi_extractor=dict(roi_layer=dict(output_size=7)),
        relative_roi_extractor=dict(roi_layer=dict(output_size=7)),
    ),
    train_cfg=dict(rcnn=_base_.fast_rcnn),
)
