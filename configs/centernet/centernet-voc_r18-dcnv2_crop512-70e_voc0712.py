# CenterNet, ResNet-18, on VOC07+12 at 512 pixels. VOC 2007 mAP 75.7 with the
# flip test.
# 1 GPU x 32 images, lr 0.000125.
_base_ = './centernet-voc_r18-dcnv2_crop384-70e_voc0712.py'
train_dataloader = dict(dataset=_base_.voc_512['train'])
val_dataloader = dict(dataset=_base_.voc_512['test'])
test_dataloader = val_dataloader
tta_pipeline = _base_.voc_512['flip']
