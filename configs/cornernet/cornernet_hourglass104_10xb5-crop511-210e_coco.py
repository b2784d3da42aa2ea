# CornerNet, Hourglass-104, as in mmdet, with the batch of the paper. AP 41.2
# with the flip test.
# 10 GPUs x 5 images, lr 0.0005.
_base_ = './cornernet_hourglass104_8xb6-crop511-210e_coco.py'
train_dataloader = dict(batch_size=5)
auto_scale_lr = dict(base_batch_size=50)
