"""What the tests over all methods have to know about this one."""

UP_TO_A_FACTOR = 'losses are sums over the images of a process, as in YOLOv3'
