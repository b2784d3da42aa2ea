from .shapes import SHAPES_CLASSES, SHAPES_METAINFO, generate_shapes
