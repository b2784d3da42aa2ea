# Without edge aggregation, a row of the ablation; a test of the same weights.
# 6 GPUs x 4 images, lr 0.00025.
_base_ = './extremenet_hourglass104_crop511-50e_coco.py'
model = dict(test_cfg=dict(aggr_weight=0.0))
