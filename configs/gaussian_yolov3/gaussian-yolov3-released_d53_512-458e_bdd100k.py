# For the released BDD100K weights (mAP 19.77 on val at IoU 0.75): the official
# rules, thresholds and gray padding, boxes clipped to the image. Convert the
# file with `mmdet-assigners convert gaussian_yolov3` first.
_base_ = './gaussian-yolov3_d53_512-458e_bdd100k.py'
model = dict(
    data_preprocessor=dict(pad_value=0.5),
    bbox_head=dict(
        straight_through=True, threshold_product=True, clip_detections=True
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='DarknetGridAssigner')),
    test_cfg=dict(
        nms_pre=100000, score_thr=0.005, conf_thr=0.005, max_per_img=1000
    ),
)
