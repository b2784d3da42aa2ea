# For the released weights: the official places of the taps, all corners in one
# channel. Convert the file with `mmdet-assigners convert saccadenet` first.
# AP 42.1 with the flip test.
_base_ = './saccadenet_dla34_crop512-230e_coco.py'
model = dict(bbox_head=dict(agg_mode='official_v1', single_channel=True))
