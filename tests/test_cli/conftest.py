from test_analysis.fixtures import coco, config  # noqa: F401
