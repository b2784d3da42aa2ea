# Released SpineNet-96 of a port at 1024: AP 46.9 on val, with the anchors of
# mmdet 1.x.
_base_ = './spinenet_retinanet_96_1024-350e_coco.py'
model = dict(bbox_head=_base_.spinenet_released_anchors)
