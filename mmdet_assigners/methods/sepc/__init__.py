from .heads import (
    SEPCATSSHead,
    SEPCFreeAnchorRetinaHead,
    SEPCFSAFHead,
    SEPCRetinaHead,
)
from .neck import SEPC
from .pconv import PConv
