from .head import SAPDHead
from .select_net import FeatureSelectNet
