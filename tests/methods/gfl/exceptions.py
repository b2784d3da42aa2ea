"""What the tests over all methods have to know about this one."""

# untrained scores sum to less than 1, which counts as 1 in each process
BY_IMAGE = ('bbox_head', 'box_weight', 'one')
