"""What the tests over all methods have to know about this one."""

# centers that are fitted to the cell are missed where rounding moves them
OVERFIT_OPTIONS = ('model.test_cfg.center_kernel=3',)

# peaks of untrained maps that are not averaged make no group of four
FINDS_NOTHING = ('extremenet-no-aggregation_hourglass104_crop511-50e_coco',)
