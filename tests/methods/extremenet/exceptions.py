"""What the tests over all methods have to know about this one."""

# peaks of untrained maps that are not averaged make no group of four
FINDS_NOTHING = ('extremenet-no-aggregation_hourglass104_crop511-50e_coco',)
