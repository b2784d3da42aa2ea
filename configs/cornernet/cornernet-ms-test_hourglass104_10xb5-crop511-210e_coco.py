# Test-dev AP 42.1 with the multi-scale test, images also mirrored, for mmdet's
# `tools/test.py CONFIG CHECKPOINT --tta`. Boxes are averaged with those that
# they suppress.
_base_ = './cornernet-official_hourglass104_10xb5-crop511-210e_coco.py'
model = dict(test_cfg=dict(merge_exponent=10))
tta_pipeline = _base_.odd_tests['scales']
