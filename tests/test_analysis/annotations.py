"""An annotation file without images."""

import json

import numpy as np


def write_annotations(path):
    """24 objects, one a crowd, on two of three images of 666 x 400."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 300, (24, 2))
    size = rng.uniform(4, 200, (24, 2)).clip(max=[666, 400] - low)
    content = dict(
        images=[
            dict(id=i, file_name=f'{i}.png', width=666, height=400)
            for i in range(3)
        ],
        categories=[dict(id=i, name=f'class {i}') for i in range(3)],
        annotations=[
            dict(
                id=i,
                image_id=i % 2,
                category_id=i % 3,
                bbox=[*low[i], *size[i]],
                area=size[i].prod(),
                iscrowd=int(i == 23),
            )
            for i in range(24)
        ],
    )
    path.write_text(json.dumps(content))
    return path
