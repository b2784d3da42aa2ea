from .sepc import SEPC
