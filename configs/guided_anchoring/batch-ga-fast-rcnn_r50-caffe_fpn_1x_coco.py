# GA-Fast R-CNN R-50 1x: AP 39.5 on val (README of the official code). Needs
# proposal files of GA-RPN, see README. 8 GPUs x 2 images, lr 0.02.
_base_ = [
    'mmdet::fast_rcnn/fast-rcnn_r50-caffe_fpn_1x_coco.py',
    '../_base_/ga_fast_mini.py',
]
custom_imports = dict(imports=['mmdet_assigners'], allow_failed_imports=False)
model = dict(
    roi_head=dict(bbox_head=_base_.ga_stds),
    train_cfg=dict(rcnn=_base_.ga_rcnn_train),
    test_cfg=dict(rcnn=dict(score_thr=1e-3)),
)
_load = dict(type='LoadProposals', num_max_proposals=300)
_train = [_base_.train_pipeline[0], _load, *_base_.train_pipeline[2:]]
_test = [_base_.test_pipeline[0], _load, *_base_.test_pipeline[2:]]
_file = 'proposals/ga_rpn_r50_fpn_1x_{}2017.pkl'
train_dataloader = dict(
    dataset=dict(proposal_file=_file.format('train'), pipeline=_train)
)
val_dataloader = dict(
    dataset=dict(proposal_file=_file.format('val'), pipeline=_test)
)
test_dataloader = val_dataloader
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
auto_scale_lr = dict(base_batch_size=16)
