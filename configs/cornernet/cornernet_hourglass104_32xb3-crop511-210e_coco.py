# CornerNet, Hourglass-104, as in mmdet. AP 40.4 with the flip test.
# 32 GPUs x 3 images, lr 0.0005.
_base_ = './cornernet_hourglass104_8xb6-crop511-210e_coco.py'
train_dataloader = dict(batch_size=3)
auto_scale_lr = dict(base_batch_size=96)
