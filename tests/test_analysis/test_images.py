import pytest
import torch

from mmdet_assigners.analysis.samples import (
    build_model,
    find_image,
    load_sample,
)


def test_image_by_index(coco):
    ann_file, folder = coco
    info, classes = find_image(ann_file, img_dir=folder)
    assert classes == ('ball', 'cone', 'cube')
    assert info['img_path'] == str(folder / 'one.png')
    boxes = [(i['bbox_label'], i['ignore_flag']) for i in info['instances']]
    assert boxes == [(0, 0), (2, 0), (1, 1)]


def test_image_by_name(coco):
    ann_file, folder = coco
    info, _ = find_image(ann_file, folder / 'two.png')
    assert info['img_path'] == str(folder / 'two.png')
    assert info['instances'] == []


def test_what_is_missing_is_named(coco, tmp_path):
    ann_file, folder = coco
    with pytest.raises(FileNotFoundError, match=r'annotation file .*no\.json'):
        find_image(tmp_path / 'no.json')
    with pytest.raises(FileNotFoundError, match=r'image .*three\.png'):
        find_image(ann_file, folder / 'three.png')
    with pytest.raises(FileNotFoundError, match=r'image .*one\.png'):
        find_image(ann_file, img_dir=tmp_path)
    with pytest.raises(IndexError, match=r'index 2: .* has 2 images'):
        find_image(ann_file, img_dir=folder, index=2)
    (folder / 'tow.png').write_bytes((folder / 'two.png').read_bytes())
    with pytest.raises(ValueError, match=r'annotations of tow\.png.*two\.png'):
        find_image(ann_file, folder / 'tow.png')
    broken = tmp_path / 'broken.json'
    broken.write_text('{"images": []}')
    with pytest.raises(ValueError, match="no 'annotations'"):
        find_image(broken)


def test_objects_are_in_the_scale_of_the_input(coco, config):
    ann_file, folder = coco
    info, _ = find_image(ann_file, img_dir=folder)
    data = load_sample(config('retinanet'), info)
    # 64 x 48 is resized to 320 x 240
    assert data['inputs'][0].shape == (3, 240, 320)
    (sample,) = data['data_samples']
    boxes = sample.gt_instances.bboxes.tensor.tolist()
    assert boxes == [[20, 30, 120, 180], [150, 50, 300, 200]]
    assert sample.gt_instances.labels.tolist() == [0, 2]
    crowd = sample.ignored_instances.bboxes.tensor.tolist()
    assert crowd == [[0, 200, 320, 240]]


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
