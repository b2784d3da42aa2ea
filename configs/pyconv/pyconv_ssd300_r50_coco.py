# PyConvSSD with PyConvs in the predictors of the maps of 38, 19 and 10 cells
# too, each followed by a 1x1. What has how many levels, and the 256 channels,
# are our reading. 8 GPUs x 8 images, lr 0.002.
_base_ = './pyconv_plain-predictors_ssd300_r50_coco.py'
model = dict(
    bbox_head=dict(
        type='PyConvSSDHead',
        levels=(4, 3, 2, 1, 1, 1),
        pyconv_channels=256,
    )
)
mini = dict(model=dict(bbox_head=dict(pyconv_channels=64)))
