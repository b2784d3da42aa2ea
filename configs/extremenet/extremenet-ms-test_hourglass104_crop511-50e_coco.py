# AP 43.3 with the multi-scale test, images also mirrored, for mmdet's
# `tools/test.py CONFIG CHECKPOINT --tta`. Ghosts are not suppressed.
_base_ = './extremenet_hourglass104_crop511-50e_coco.py'
model = dict(test_cfg=dict(suppress_ghost=False))
tta_pipeline = _base_.odd_tests['scales']
