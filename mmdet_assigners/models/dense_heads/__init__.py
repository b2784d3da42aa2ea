from .sapd_head import SAPDHead
from .sepc_heads import (
    SEPCATSSHead,
    SEPCFreeAnchorRetinaHead,
    SEPCFSAFHead,
    SEPCRetinaHead,
)
