"""What the sweeps do differently for D2Det."""

# the regression is a mean over the jittered positives of a process, whose
# number differs by image
BY_IMAGE = ('roi_head', 'max_num_reg', 0)

# the classes of the main config, VOC's data
REPEATS = {'d2det_r50_fpn_2x_coco': ['d2det_r50_fpn_1x_voc0712']}
