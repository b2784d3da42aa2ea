# Released SpineNet-49 of a port at 896: AP 44.9 on val, with the anchors of
# mmdet 1.x.
_base_ = './spinenet_retinanet_49_896-350e_coco.py'
model = dict(bbox_head=_base_.spinenet_released_anchors)
