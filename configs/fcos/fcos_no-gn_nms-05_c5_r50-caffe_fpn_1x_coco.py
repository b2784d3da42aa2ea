# FCOS vs RetinaNet: no GN, NMS 0.5, extra levels from C5 instead of P5. AP
# 36.3 on val in the paper.
# 8 GPUs x 2 images, lr 0.01.
_base_ = './fcos_no-gn_nms-05_r50-caffe_fpn_1x_coco.py'
model = dict(neck=dict(add_extra_convs='on_input'))
