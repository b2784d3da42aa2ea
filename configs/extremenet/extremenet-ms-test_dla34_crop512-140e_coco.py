# AP 38.5 with the multi-scale test, images also mirrored, for mmdet's
# `tools/test.py CONFIG CHECKPOINT --tta`.
_base_ = './extremenet_dla34_crop512-140e_coco.py'
tta_pipeline = _base_.keypoint_tests['scales']
