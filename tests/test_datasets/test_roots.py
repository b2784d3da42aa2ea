import json

import pytest

from mmdet_assigners.datasets.roots import (
    DataFiles,
    load_split,
    read_annotations,
    resolve_data,
)


def coco_root(root, train='train', val='val', images='images', masks=False):
    """A dataset of one image per split."""
    (root / 'annotations').mkdir(parents=True)
    (root / images).mkdir(parents=True, exist_ok=True)
    (root / images / 'a.jpg').touch()
    box = dict(
        id=1, image_id=1, category_id=7, bbox=[0, 0, 4, 4], area=16, iscrowd=0
    )
    if masks:
        box['segmentation'] = [[0, 0, 4, 0, 4, 4]]
    content = dict(
        images=[dict(id=1, file_name='a.jpg', width=8, height=8)],
        annotations=[box],
        categories=[dict(id=7, name='cell'), dict(id=3, name='plate')],
    )
    for name in (train, val):
        (root / 'annotations' / f'{name}.json').write_text(json.dumps(content))
    return root


def test_finds_splits_and_classes(tmp_path):
    data = resolve_data(str(coco_root(tmp_path / 'set')))
    assert data.name == 'set'
    assert data.train.classes == ('cell', 'plate')  # file order, not by id
    assert data.train.ann_file.name == 'train.json'
    assert data.val.ann_file.name == 'val.json'
    assert data.val.img_dir == tmp_path / 'set' / 'images'


def test_coco_layout(tmp_path):
    root = coco_root(
        tmp_path, 'instances_train2017', 'instances_val2017', 'val2017', True
    )
    (root / 'train2017').mkdir()
    (root / 'train2017' / 'a.jpg').touch()
    data = resolve_data(str(root))
    assert data.train.img_dir == root / 'train2017'
    assert data.val.img_dir == root / 'val2017'


def test_prefers_masks_when_asked(tmp_path):
    root = coco_root(tmp_path, 'detection_train2017', 'detection_val2017')
    other = coco_root(
        tmp_path / 'x', 'instances_train2017', 'instances_val2017', masks=True
    )
    for path in (other / 'annotations').iterdir():
        path.rename(root / 'annotations' / path.name)
    find = resolve_data
    assert find(str(root)).train.ann_file.stem == 'detection_train2017'
    with_masks = find(str(root), masks=True)
    assert with_masks.train.ann_file.stem == 'instances_train2017'


def test_trainval_is_not_train(tmp_path):
    root = coco_root(tmp_path, 'trainval', 'val')
    with pytest.raises(FileNotFoundError, match='train split'):
        resolve_data(str(root))


def test_missing_root_names_the_nearest():
    with pytest.raises(FileNotFoundError, match='did you mean bccd'):
        resolve_data('bcdd')


def test_missing_root_of_a_known_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^data 'bccd': .*data/bccd"):
        resolve_data('bccd')


def test_missing_images_name_the_folders(tmp_path):
    root = coco_root(tmp_path)
    (root / 'images' / 'a.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r"'a.jpg'.*images"):
        resolve_data(str(root))


@pytest.mark.parametrize(
    ('text', 'message'),
    [('{', 'not valid JSON'), ('{"images": []}', "no 'annotations'")],
)
def test_broken_annotations(tmp_path, text, message):
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_annotations(path)


def test_layout_of_roboflow(tmp_path):
    """Every split is a folder of images beside their annotations."""
    root = coco_root(tmp_path)
    for split, folder in (('train', 'train'), ('val', 'valid')):
        (root / folder).mkdir()
        (root / folder / 'a.jpg').touch()
        (root / 'annotations' / f'{split}.json').rename(
            root / folder / '_annotations.coco.json'
        )
    data = resolve_data(str(root))
    assert data.train.img_dir == root / 'train'
    assert data.val.ann_file == root / 'valid' / '_annotations.coco.json'


def test_files_instead_of_a_root(tmp_path):
    root = coco_root(tmp_path)
    train, val = (
        str(root / 'annotations' / f'{s}.json') for s in ('train', 'val')
    )
    files = DataFiles(train, val, str(root / 'images'))
    data = resolve_data(files)
    assert data.name == 'images'
    assert data.val == resolve_data(str(root)).val
    with pytest.raises(ValueError, match='1 of 1 annotations have no segme'):
        resolve_data(files, masks=True)


def test_split_of_an_annotation_file(tmp_path):
    root = coco_root(tmp_path)
    split = load_split(root / 'annotations' / 'val.json', root / 'images')
    assert split == resolve_data(str(root)).val
    with pytest.raises(FileNotFoundError, match=r'annotation file no\.json'):
        load_split('no.json')
