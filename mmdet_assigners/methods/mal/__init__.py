from .head import MALRetinaHead
