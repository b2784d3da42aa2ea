"""What the tests over all methods have to know about this one."""

UP_TO_A_FACTOR = (
    'the normalizer is a moving average of each process, as in the official '
    'code'
)
