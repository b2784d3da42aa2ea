from .atss_ladder_head import ATSSLadderHead
from .auto_assign_ablation_head import AutoAssignAblationHead
from .batch_ga_heads import (
    BatchGARetinaHead,
    BatchGARPNHead,
    BatchGuidedAnchorHead,
)
from .fcos_ablation_head import FCOSAblationHead
from .flat_retina_head import FlatRetinaHead
from .fsaf_paper_head import FSAFPaperHead
from .hambox_heads import HAMBoxRetinaHead, HAMBoxRPNHead
from .mal_head import MALRetinaHead
from .noisy_anchor_head import NoisyAnchorRetinaHead
from .retina_fsaf_head import RetinaFSAFHead
from .sampling_free_fcos_head import SamplingFreeFCOSHead
from .sampling_free_heads import SamplingFreeRetinaHead, SamplingFreeRPNHead
from .sapd_head import SAPDHead
from .sepc_heads import (
    SEPCATSSHead,
    SEPCFreeAnchorRetinaHead,
    SEPCFSAFHead,
    SEPCRetinaHead,
)
