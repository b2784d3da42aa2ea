# Released SpineNet-49S of a port at 640: AP 39.2 on val, with the anchors of
# mmdet 1.x.
_base_ = './spinenet_retinanet_49s_640-350e_coco.py'
model = dict(bbox_head=_base_.spinenet_released_anchors)
