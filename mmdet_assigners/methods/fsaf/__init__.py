from .paper_head import FSAFPaperHead
from .retina_head import RetinaFSAFHead
