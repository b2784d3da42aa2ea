# Released SpineNet-143 of a port at 1280: AP 49.2 on val, with the anchors of
# mmdet 1.x.
_base_ = './spinenet_retinanet_143_1280-350e_coco.py'
model = dict(bbox_head=_base_.spinenet_released_anchors)
