"""Every type of model on a GPU: as on the CPU, in half precision, at test."""

import copy

import pytest
import torch
from helpers import (
    BOXES,
    change_of,
    demo_batch,
    leaf_configs,
    losses_of,
    mini_model,
    total_loss,
)

CONFIGS = [p for p in leaf_configs() if change_of(p) == 'types']
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason='needs a CUDA device'
    ),
]


@pytest.fixture(scope='module', params=CONFIGS, ids=lambda p: p.stem)
def models(request):
    """The same model on the CPU and on the GPU."""
    model = mini_model(request.param).train()
    return model, copy.deepcopy(model).cuda()


def run_losses(model, boxes):
    torch.manual_seed(0)
    return losses_of(model, demo_batch(boxes))


def test_losses_equal_cpu(models, monkeypatch):
    """Forward and backward; TensorFloat-32 would round to 3 digits."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    expected, losses = (run_losses(m, [BOXES, BOXES[:2]]) for m in models)
    assert losses.keys() == expected.keys()
    loss = total_loss(losses)
    torch.testing.assert_close(
        loss.cpu(), total_loss(expected), rtol=1e-2, atol=1e-3
    )
    loss.backward()
    for name, parameter in models[1].named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.isfinite().all(), name


def test_no_ground_truth(models):
    losses = run_losses(models[1], [BOXES, []])
    assert losses.keys() == run_losses(models[1], [BOXES, BOXES]).keys()
    assert total_loss(losses).isfinite()
    assert total_loss(run_losses(models[1], [[], []])).isfinite()


def known_gap(error):
    """Why mmdet or mmcv can't do it for any model, or None."""
    text = str(error)
    if "not implemented for 'BFloat16'" in text and '_cuda_kernel' in text:
        return f"an operator of mmcv's: {text}"
    if 'binary_cross_entropy' in text and 'unsafe to autocast' in text:
        return "mmdet's FreeAnchorRetinaHead has the logarithm of scores"
    return None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast_is_finite(models, dtype):
    """What ``--amp`` does."""
    models[1].zero_grad()
    try:
        with torch.autocast('cuda', dtype):
            loss = total_loss(run_losses(models[1], [BOXES, BOXES[:1]]))
    except RuntimeError as error:
        if reason := known_gap(error):
            pytest.skip(reason)
        raise
    assert loss.isfinite()
    loss.backward()


@pytest.mark.parametrize('half', [False, True], ids=['float32', 'float16'])
def test_predict(models, half):
    model = copy.deepcopy(models[1]).eval()
    data = model.data_preprocessor(demo_batch([BOXES, BOXES[:1]]), False)
    with torch.no_grad(), torch.autocast('cuda', torch.float16, half):
        samples = model(**data, mode='predict')
    for sample in samples:
        assert sample.pred_instances.bboxes.isfinite().all()
        assert sample.pred_instances.bboxes.is_cuda
