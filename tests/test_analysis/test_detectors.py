import pytest
import torch

from mmdet_assigners.analysis.detectors import (
    build_model,
    evaluating,
    load_detector,
)


def test_random_weights_follow_the_seed(config):
    first, second, other = (
        build_model(config('fcos'), seed=seed).bbox_head.conv_cls.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_config_is_left_alone(config):
    cfg = config('fcos')
    before = cfg.pretty_text
    build_model(cfg)
    assert cfg.pretty_text == before


def test_checkpoint(config, tmp_path):
    model = build_model(config('fcos'), seed=1)
    assert model.training
    file = tmp_path / 'a.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    loaded = build_model(config('fcos'), file, seed=2)
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    norms = [
        m for m in loaded.modules() if isinstance(m, torch.nn.BatchNorm2d)
    ]
    assert norms
    assert not any(m.training for m in norms)


def test_checkpoint_that_does_not_fit(config, tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(build_model(config('retinanet')).state_dict(), file)
    with pytest.raises(ValueError, match='does not fit the config'):
        build_model(config('fcos'), file)
    with pytest.raises(ValueError, match='there is no checkpoint'):
        build_model(config('fcos'), tmp_path / 'b.pth')


def test_detector_of_a_name(config, tmp_path):
    file = tmp_path / 'fcos.pth'
    torch.save(build_model(config('fcos'), seed=1).state_dict(), file)
    name = 'fcos_r50-caffe_fpn_gn-head_1x_coco'
    detector = load_detector(
        f'mmdet::fcos/{name}',
        file,
        num_classes=3,
        mini=True,
        options={'model.bbox_head.center_sampling': True},
    )
    assert (detector.name, detector.checkpoint) == (name, file)
    assert detector.model.bbox_head.center_sampling
    assert detector.device == torch.device('cpu')
    weights = torch.load(file)
    for key, value in detector.model.state_dict().items():
        assert torch.equal(value, weights[key])


def test_evaluation_restores_the_mode_of_every_module():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout())
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [
        True,
        True,
        False,
    ]
