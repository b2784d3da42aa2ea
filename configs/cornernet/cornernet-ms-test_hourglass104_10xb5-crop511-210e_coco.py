# Test-dev AP 42.1 with the multi-scale test, images also mirrored, for mmdet's
# `tools/test.py CONFIG CHECKPOINT --tta`.
_base_ = './cornernet-official_hourglass104_10xb5-crop511-210e_coco.py'
tta_pipeline = _base_.odd_tests['scales']
