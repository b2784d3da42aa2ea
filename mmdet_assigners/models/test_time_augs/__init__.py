from .center_point_tta import CenterPointTTA
