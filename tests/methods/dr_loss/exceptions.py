"""What the tests over all methods have to know about this one."""

DOES_NOT_OVERFIT = dict(
    bccd=(
        'AP50 0.66: red cells 0.99, white 1, platelets 0. A positive of '
        'probability p moves the loss by its share of the mean of all '
        'positives times p (1 - p); at the prior 0.01 few anchors count '
        'for nothing'
    )
)
