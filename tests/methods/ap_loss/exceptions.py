"""What the tests over all methods have to know about this one."""

# else it ranks all images of a process together, as in the official code
BY_IMAGE = ('bbox_head.loss_cls', 'per_image', True)
