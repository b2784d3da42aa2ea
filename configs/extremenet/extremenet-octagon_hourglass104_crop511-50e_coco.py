# AP 18.9 of octagons around the extreme points as masks.
# 6 GPUs x 4 images, lr 0.00025.
_base_ = './extremenet_hourglass104_crop511-50e_coco.py'
model = dict(test_cfg=dict(octagon_masks=True))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
