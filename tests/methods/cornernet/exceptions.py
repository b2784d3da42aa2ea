"""What the tests over all methods have to know about this one."""

# the embedding losses are sums over the images of a process, as in mmdet and
# in the official code
BY_IMAGE = [
    ('bbox_head.loss_embedding', 'pull_weight', 0.0),
    ('bbox_head.loss_embedding', 'push_weight', 0.0),
]
