"""mmdet's own test.py with our modules registered: all its arguments.

``mim test mmdet_assigners CONFIG --checkpoint FILE`` runs this file.
"""

from mmdet_assigners.diagnostics.environment import run_mmdet_tool

if __name__ == '__main__':
    run_mmdet_tool('test.py')
