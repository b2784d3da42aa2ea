from .bbox_head import SamplingFreeBBoxHead
from .fcos_head import SamplingFreeFCOSHead
from .full_sampler import FullSampler
from .heads import SamplingFreeRetinaHead, SamplingFreeRPNHead
