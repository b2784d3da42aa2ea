from .align_stage_head import AlignStageHead
from .border_align_module import BorderAlignModule
from .feature_depression import FeatureDepression
from .feature_select_net import FeatureSelectNet
from .grounding_transformer import (
    GroundingTransformer,
    LocalGroundingTransformer,
    PublishedGroundingTransformer,
)
from .guided_anchor_layers import BatchFeatureAdaption, BatchMaskedConv
from .pconv import PConv, integrated_norm
from .rendering_transformer import (
    PublishedRenderingTransformer,
    RenderingTransformer,
)
from .roi_conv import RoIConv
from .scale_aligned_conv import ScaleAlignedConv
from .self_transformer import SelfTransformer
