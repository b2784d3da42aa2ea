# AP 45.1 with the multi-scale test, images also mirrored, for mmdet's
# `tools/test.py CONFIG CHECKPOINT --tta`.
_base_ = './centernet_hourglass104_crop512-50e_coco.py'
tta_pipeline = _base_.hourglass_tests['scales']
