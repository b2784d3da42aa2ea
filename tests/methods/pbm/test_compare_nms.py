"""R2NMS beside other NMS, and the crowded data for it."""

import json
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

from mmdet_assigners.methods.pbm import compare_nms
from mmdet_assigners.methods.pbm.crowded_shapes import write_crowd
from mmdet_assigners.small_scale import load_config

CONFIG = 'pbm_faster-rcnn_r50_fpn_1x_coco-pairs'


@pytest.fixture(scope='module')
def crowd(tmp_path_factory):
    return write_crowd(tmp_path_factory.mktemp('data') / 'crowd', 1, 2)


def test_crowd(crowd):
    for split, count in (('train', 1), ('val', 2)):
        path = crowd / 'annotations' / f'{split}.json'
        content = json.loads(path.read_text())
        assert len(content['images']) == count
        for image in content['images']:
            objects = [
                one
                for one in content['annotations']
                if one['image_id'] == image['id']
            ]
            # some of 16 to 26 find no place
            assert len(objects) > 10
            assert {one['category_id'] for one in objects} == {1}
            assert (crowd / 'images' / image['file_name']).is_file()
        assert len(content['categories']) == 1
    assert len(list((crowd / 'images').iterdir())) == 3


def test_crowd_refuses(crowd):
    with pytest.raises(FileExistsError, match='crowd exists'):
        write_crowd(crowd, 1, 1)
    with pytest.raises(ValueError, match='num_val must be at least 1, got 0'):
        write_crowd(crowd / 'new', 1, 0)


def truth(path):
    """Two objects that overlap, whose visible parts do not."""
    boxes = [[0, 0, 40, 100], [0, 20, 40, 100]]
    visible = [[0, 0, 40, 20], [0, 40, 40, 80]]
    annotations = [
        dict(
            id=i + 1,
            image_id=7,
            category_id=3,
            iscrowd=0,
            area=1,
            bbox=boxes[i],
            vis_bbox=visible[i],
        )
        for i in range(2)
    ]
    content = dict(
        images=[dict(id=7, width=100, height=200, file_name='a.jpg')],
        annotations=annotations,
        categories=[dict(id=3, name='thing')],
    )
    path.write_text(json.dumps(content))
    return compare_nms.read_truth(path)


def pairs():
    """Both objects, and a second box of the first one."""
    full = [[0, 0, 40, 100], [0, 20, 40, 120], [0, 1, 40, 100]]
    visible = [[0, 0, 40, 20], [0, 40, 40, 120], [0, 1, 40, 20]]
    return InstanceData(
        bboxes=torch.tensor(full).float(),
        visible_bboxes=torch.tensor(visible).float(),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.zeros(3, dtype=torch.long),
        metainfo=dict(img_id=7),
    )


def test_only_r2nms_tells_neighbors_from_copies(tmp_path):
    coco = truth(tmp_path / 'val.json')
    images = [pairs()]
    # IoU of the full boxes 80 / 120
    expected = dict(nms=[0.9], soft_nms=[0.9, 0.8, 0.7], r2nms=[0.9, 0.8])
    for kind, scores in expected.items():
        found = compare_nms.apply_nms(images[0], kind, 0.5)
        assert len(found) == len(scores), kind
    assert images[0].scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    rows = {
        (row['nms'], row['iou_threshold']): row
        for row in compare_nms.compare(coco, images)
    }
    assert len(rows) == 15
    # of the ground truths, whose full boxes have an IoU of 80 / 120
    assert rows['nms', 0.5]['kept'] == 0.5
    assert rows['nms', 0.7]['kept'] == rows['r2nms', 0.3]['kept'] == 1
    assert rows['nms', 0.5]['recall'] == 0.5
    assert rows['nms', 0.7]['recall'] == 1
    assert rows['r2nms', 0.5]['recall'] == rows['r2nms', 0.5]['AP50'] == 1
    assert rows['r2nms', 0.5]['mAP'] == pytest.approx(1)
    found = compare_nms.found_objects(
        compare_nms.apply_nms(images[0], 'nms', 0.5), images[0].bboxes[:2]
    )
    assert found.tolist() == [True, False]


def test_nothing_found(tmp_path):
    coco = truth(tmp_path / 'val.json')
    rows = compare_nms.compare(coco, [pairs()[:0]])
    assert {row['recall'] for row in rows} == {0}


def test_the_command(crowd, tmp_path, monkeypatch, capsys):
    cfg = load_config(CONFIG, mini=True, data=str(crowd))
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pbm.pth')
    out, image = tmp_path / 'rows.json', tmp_path / 'crowd.png'
    arguments = [CONFIG, str(tmp_path / 'pbm.pth'), '--mini']
    arguments += ['--data', str(crowd), '--json', str(out)]
    arguments += ['--image', str(image)]
    arguments += ['--cfg-options', 'model.test_cfg.rcnn.score_thr=0.0']
    monkeypatch.setattr(sys, 'argv', ['compare_nms', *arguments])
    compare_nms.main()
    content = json.loads(out.read_text())
    assert content['images'] == 2 and len(content['rows']) == 15
    # nothing was suppressed: a box of each proposal
    assert content['candidates'] > 2 * 100
    assert image.read_bytes()[:4] == b'\x89PNG'
    assert '| r2nms | 0.5 |' in capsys.readouterr().out
