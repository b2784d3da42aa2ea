# Released SpineNet-49 of a port at 640: AP 42.1 on val, with the anchors of
# mmdet 1.x.
_base_ = './spinenet_retinanet_49_640-350e_coco.py'
model = dict(bbox_head=_base_.spinenet_released_anchors)
