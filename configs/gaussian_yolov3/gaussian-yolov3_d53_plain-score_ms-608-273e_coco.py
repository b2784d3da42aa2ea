# Ablation: the score without its uncertainty. 8 GPUs x 8 images, lr 0.001.
_base_ = './gaussian-yolov3_d53_ms-608-273e_coco.py'
model = dict(bbox_head=dict(uncertainty_score=False))
