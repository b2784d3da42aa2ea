# Variant: negatives that regress well are ignored only for the class of the
# object that they overlap most. Not in the paper. 8 GPUs x 2 images, lr 0.01.
_base_ = './hambox_retinanet_r50_fpn_1x_coco.py'
model = dict(train_cfg=dict(assigner=dict(ignore_per_class=True)))
