# SEPC table row "FSAF + PConv": AP 38.6, without 36.8.
# 8 GPUs (assumed) x 2 images, lr 0.01.
_base_ = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    neck=[
        _base_.model.neck,
        dict(type='SEPC', in_channels=256, out_channels=256, num_levels=5),
    ],
    bbox_head=dict(type='SEPCFSAFHead', stacked_convs=0),
)
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1 / 3),
    _base_.param_scheduler[1],
]
# 4 + 4 convs of the head become 2 + 2: as many in the shared part
mini = dict(model=dict(neck={'1': dict(pconv_num=2)}))
