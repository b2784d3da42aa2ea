import pytest

from mmdet_assigners.analysis.images import (
    find_image,
    ground_truths,
    load_image,
    read_images,
)


def test_image_by_index(coco):
    info = find_image(coco)
    assert info['img_path'] == str(coco.img_dir / 'one.png')
    boxes = [(i['bbox_label'], i['ignore_flag']) for i in info['instances']]
    assert boxes == [(0, 0), (2, 0), (1, 1)]
    assert find_image(coco, index=1)['img_path'].endswith('two.png')


def test_image_by_name(coco):
    info = find_image(coco, coco.img_dir / 'two.png')
    assert info['img_path'] == str(coco.img_dir / 'two.png')
    assert info['instances'] == []


def test_all_images_in_order(coco):
    names = [info['img_path'][-7:] for info in read_images(coco)]
    assert names == ['one.png', 'two.png']
    assert len(list(read_images(coco, limit=1))) == 1


def test_crowds_are_no_ground_truths(coco):
    boxes, labels = ground_truths(find_image(coco))
    assert boxes.tolist() == [[4, 6, 24, 36], [30, 10, 60, 40]]
    assert labels.tolist() == [0, 2]
    assert ground_truths(find_image(coco, index=1))[0].shape == (0, 4)


def test_missing_images_are_named(coco, tmp_path):
    folder = coco.img_dir
    with pytest.raises(FileNotFoundError, match=r'image .*three\.png'):
        find_image(coco, folder / 'three.png')
    with pytest.raises(IndexError, match=r'index 2: .* has 2 images'):
        find_image(coco, index=2)
    (folder / 'tow.png').write_bytes((folder / 'two.png').read_bytes())
    with pytest.raises(ValueError, match=r'annotations of tow\.png.*two\.png'):
        find_image(coco, folder / 'tow.png')
    (folder / 'one.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'image .*one\.png'):
        find_image(coco)


def test_objects_are_in_the_scale_of_the_input(coco, config):
    data = load_image(config('retinanet'), find_image(coco))
    # 64 x 48 is resized to 320 x 240
    assert data['inputs'][0].shape == (3, 240, 320)
    (sample,) = data['data_samples']
    boxes = sample.gt_instances.bboxes.tensor.tolist()
    assert boxes == [[20, 30, 120, 180], [150, 50, 300, 200]]
    assert sample.gt_instances.labels.tolist() == [0, 2]
    crowd = sample.ignored_instances.bboxes.tensor.tolist()
    assert crowd == [[0, 200, 320, 240]]
