from .neck import FPT
