"""What the tests over all methods have to know about this one."""

# else it divides by the positives of the process, which follow predictions
BY_IMAGE = ('bbox_head', 'sync_normalizer', True)
