from test_analysis.fixtures import batch, coco, config, detector  # noqa: F401
