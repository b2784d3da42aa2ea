from .feature_depression import FeatureDepression
from .feature_select_net import FeatureSelectNet
from .guided_anchor_layers import BatchFeatureAdaption, BatchMaskedConv
from .pconv import PConv, integrated_norm
from .scale_aligned_conv import ScaleAlignedConv
