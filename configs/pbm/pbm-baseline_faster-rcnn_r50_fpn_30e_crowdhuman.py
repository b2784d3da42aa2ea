# Faster R-CNN on CrowdHuman, the baseline of PBM: AP 84.91, MR-2 46.28, recall
# 88.25 on val in the paper, whose schedule is not public.
# 8 GPUs x 2 images, lr 0.002.
_base_ = ['../_base_/crowdhuman_faster.py', '../_base_/pbm_parts.py']
mini = _base_.pbm_mini
small = _base_.pbm_small
