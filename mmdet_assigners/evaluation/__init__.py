from .wider_face_metric import WIDERFaceMetric
