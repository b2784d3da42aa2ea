"""What the tests over all methods have to know about this one."""

# pairs, without flips
PLAIN_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='LoadVisibleBoxes'),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    dict(type='PackPairedInputs'),
]
