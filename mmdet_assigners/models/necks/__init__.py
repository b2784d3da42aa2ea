from .dla_up import DLAUpNeck
