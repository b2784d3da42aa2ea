from .heads import SEPCRetinaHead, SEPCFSAFHead, SEPCFreeAnchorRetinaHead, SEPCATSSHead
from .neck import SEPC
from .pconv import PConv
