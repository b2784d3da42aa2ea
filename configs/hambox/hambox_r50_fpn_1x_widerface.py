# HAMBox R-50 on WIDER FACE: easy / medium / hard AP 97.0 / 96.4 / 93.3 on val
# with test-time augmentation (table 2 of the TinaFace paper). The paper's
# network, augmentation and schedule differ. T and K of the only public code.
# 8 GPUs x 2 images, lr 0.01.
_base_ = '../_base_/face_detector.py'
model = dict(
    bbox_head=dict(type='HAMBoxRetinaHead'),
    train_cfg=dict(
        assigner=dict(
            _delete_=True,
            type='HAMBoxAssigner',
            pos_iou_thr=0.35,  # below: negative, faces have no ignored anchors
            neg_iou_thr=0.35,
            online_iou_thr=0.5,
            topk=5,
        )
    ),
)
