"""Official preprocessing and losses of CornerNet, with parts of CenterNet."""

# a random square of the image, of 511 pixels times a scale; all images, also
# those without objects
corner_dataset = dict(
    filter_cfg=dict(filter_empty_gt=False, min_size=0),
    pipeline=[
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomCenterWarp', size=(511, 511), relative=False),
        dict(type='PCAColorJitter'),
        dict(type='PackDetInputs'),
    ],
)
corner_official = dict(
    gaussian_rule='official',
    mean_stacks=True,
    sum_corners=True,
    clamp=1e-4,
    object_offsets=True,
)
# in place of another head
corner_head = dict(
    corner_official,
    _delete_=True,
    type='CornerPairHead',
    num_classes=80,
    loss_embedding=dict(
        type='AssociativeEmbeddingLoss', pull_weight=0.1, push_weight=0.1
    ),
)
# one NMS for all views of an image, with inclusive corners
corner_test_cfg = dict(
    _delete_=True,
    corner_topk=100,
    local_maximum_kernel=3,
    distance_threshold=0.5,
    max_per_img=100,
    clip_border=True,
    nms=dict(
        type='soft_nms',
        method='gaussian',
        sigma=0.5,
        min_score=0.001,
        offset=1,
    ),
)
