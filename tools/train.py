"""mmdet's own train.py with our modules registered: all its arguments.

``mim train mmdet_assigners CONFIG`` runs this file; so can torchrun.
"""

from mmdet_assigners.diagnostics.environment import run_mmdet_tool

if __name__ == '__main__':
    run_mmdet_tool('train.py')
