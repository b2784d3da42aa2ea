# The variance voting of KL-Loss on the Gaussian boxes, in place of NMS.
# Not in the paper. 8 GPUs x 8 images, lr 0.001.
_base_ = './gaussian-yolov3_d53_ms-608-273e_coco.py'
model = dict(test_cfg=dict(nms=dict(_delete_=True, type='var_voting')))
