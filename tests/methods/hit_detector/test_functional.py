"""HitDetector: its functions on cases worked out by hand."""

import torch

from mmdet_assigners.methods.hit_detector.functional import hit_detector


def test_literal_result():
    # TODO(new-method) a case of 3 to 5 elements and its result
    result = hit_detector(torch.tensor([[0.0, 1.0, 2.0]]))
    torch.testing.assert_close(result, torch.tensor([3.0]))
