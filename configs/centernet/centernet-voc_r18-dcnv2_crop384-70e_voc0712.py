# CenterNet, ResNet-18, on VOC07+12 at 384 pixels. VOC 2007 mAP 72.6 with the
# flip test.
# 1 GPU x 32 images, lr 0.000125.
_base_ = [
    './centernet_r18-dcnv2_crop512-140e_coco.py',
    '../_base_/centernet_voc.py',
]
model = dict(
    data_preprocessor=_base_.voc_preprocessor,
    bbox_head=dict(num_classes=20),
)
train_dataloader = dict(batch_size=32, dataset=_base_.voc_384['train'])
val_dataloader = dict(dataset=_base_.voc_384['test'])
test_dataloader = val_dataloader
val_evaluator = _base_.voc_evaluator
test_evaluator = val_evaluator
tta_pipeline = _base_.voc_384['flip']
optim_wrapper = dict(optimizer=dict(lr=1.25e-4))
param_scheduler = _base_.voc_schedule
train_cfg = dict(max_epochs=70)
auto_scale_lr = dict(base_batch_size=32)
mini = _base_.voc_mini
