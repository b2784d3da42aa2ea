"""What the sweeps do differently for TSD."""

# a mean over the positives of a process, whose number differs by image
BY_IMAGE = ('roi_head.bbox_head', 'loc_pc_margin', None)
