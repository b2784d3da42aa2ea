from .dually_supervised_fpn import DuallySupervisedFPN
from .fpt import FPT
from .sepc import SEPC
