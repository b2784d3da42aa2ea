from .align_det_head import AlignDetHead
from .atss_ladder_head import ATSSLadderHead
from .auto_assign_ablation_head import AutoAssignAblationHead
from .batch_ga_heads import (
    BatchGARetinaHead,
    BatchGARPNHead,
    BatchGuidedAnchorHead,
)
from .batch_rep_points_head import BatchRepPointsHead
from .border_det_head import BorderDetHead
from .border_rpn_head import BorderRPNHead
from .fcos_ablation_head import FCOSAblationHead
from .flat_retina_head import FlatRetinaHead
from .flat_yolov3_head import FlatYOLOV3Head
from .fsaf_paper_head import FSAFPaperHead
from .gaussian_yolov3_head import GaussianYOLOV3Head
from .gfl_ablation_head import GFLAblationHead
from .hambox_heads import HAMBoxRetinaHead, HAMBoxRPNHead
from .kl_retina_head import KLRetinaHead
from .mal_head import MALRetinaHead
from .noisy_anchor_head import NoisyAnchorRetinaHead
from .qfl_heads import QFLFoveaHead, QFLRetinaHead, QFLSSDHead
from .ranking_heads import (
    RankingATSSHead,
    RankingFCOSHead,
    RankingRetinaHead,
)
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
