"""The crowded images of ``shapes``, with one class.

``python -m mmdet_assigners.methods.pbm.crowded_shapes ROOT [--train 100]
[--val 50]`` writes a COCO-format dataset for ``--data ROOT``. As people in
CrowdHuman, all objects are of one class and compete in NMS.
"""

import argparse
import json
import tempfile
from pathlib import Path

from ...datasets.shapes import generate_shapes, scene_of

_EVERY = 12  # one image in twelve is crowded


def write_crowd(root: str | Path, num_train: int, num_val: int) -> Path:
    """Write the dataset.

    Args:
        root: Folder to make.
        num_train: Number of training images.
        num_val: Number of validation images.

    Returns:
        The folder.

    Raises:
        ValueError: A number is not positive.
        FileExistsError: The folder exists.
    """
    for name, number in (('num_train', num_train), ('num_val', num_val)):
        if number < 1:
            raise ValueError(f'{name} must be at least 1, got {number}')
    root = Path(root)
    if root.exists():
        raise FileExistsError(f'{root} exists')
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        found = generate_shapes(
            Path(folder) / 'shapes',
            num_train=_EVERY * num_train,
            num_val=_EVERY * num_val,
            num_test=1,
        )
        (found / 'annotations' / 'test.json').unlink()
        (found / 'shapes.json').unlink()
        kept = set()
        for path in (found / 'annotations').iterdir():
            content = _crowd(json.loads(path.read_text()))
            kept |= {image['file_name'] for image in content['images']}
            path.write_text(json.dumps(content))
        for path in (found / 'images').iterdir():
            if path.name not in kept:
                path.unlink()
        found.rename(root)
    return root


def _crowd(content: dict) -> dict:
    """Crowded images of a split and their objects, all of one class."""
    images = [
        image
        for index, image in enumerate(content['images'])
        if scene_of(index) == 'crowd'
    ]
    ids = {image['id'] for image in images}
    objects = [
        dict(one, category_id=1)
        for one in content['annotations']
        if one['image_id'] in ids
    ]
    classes = [dict(id=1, name='shape')]
    return dict(
        content, images=images, annotations=objects, categories=classes
    )


def main() -> None:
    """Write the dataset that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('root', help='folder to make')
    parser.add_argument('--train', type=int, default=100, metavar='IMAGES')
    parser.add_argument('--val', type=int, default=50, metavar='IMAGES')
    args = parser.parse_args()
    print(write_crowd(args.root, args.train, args.val))


if __name__ == '__main__':
    main()
