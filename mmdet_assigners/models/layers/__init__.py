from .feature_select_net import FeatureSelectNet
from .pconv import PConv, integrated_norm
from .scale_aligned_conv import ScaleAlignedConv
