# Variant: the selection that the paper describes, from all anchors of a bag to
# one, with the official depression. 8 GPUs x 2 images, lr 0.01.
_base_ = './mal_r50_fpn_18e_coco.py'
model = dict(bbox_head=dict(selection='topk_anneal'))
