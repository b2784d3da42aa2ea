"""Genotype files, and the configs that they become."""

import json
import sys

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmdet.registry import MODELS
from mmengine.config import Config

from mmdet_assigners.methods.hit_detector.derive import (
    derive_config,
    main,
)
from mmdet_assigners.methods.hit_detector.genotype import (
    read_genotype,
    write_genotype,
)
from mmdet_assigners.methods.hit_detector.hook import KEEP
from mmdet_assigners.utils import config_path

STEP_2 = config_path('hit-detector-search_faster-rcnn_12e_coco')


@pytest.fixture(scope='module')
def found():
    """What a search with random logits says, and its model."""
    torch.manual_seed(0)
    cfg = mini_config(STEP_2).model
    for part in (cfg.backbone, cfg.neck, cfg.roi_head.bbox_head):
        part.candidates = ['ir_k7_e6', 'sd_k3_d1', 'skip']
    model = MODELS.build(cfg)
    for part in model.parts.values():
        torch.nn.init.normal_(part.logits)
    return model, dict(epoch=3, **model.genotype(KEEP))


def test_round_trip(found, tmp_path):
    _, content = found
    path = tmp_path / 'genotype.json'
    write_genotype(path, content)
    assert read_genotype(path) == content


def test_derived_config_trains(found, tmp_path):
    searched, content = found
    path = tmp_path / 'derived.py'
    path.write_text(derive_config(content))
    full = Config.fromfile(path)
    assert full.model.backbone.genotype == content['backbone']['genotype']
    assert full.model.backbone.init_cfg is None
    assert full.train_cfg.type == 'EpochBasedTrainLoop'
    cfg = mini_config(path).model
    model = MODELS.build(cfg)
    for name, part in dict(
        backbone=model.backbone,
        neck=model.neck,
        head=model.roi_head.bbox_head,
    ).items():
        assert type(part).__name__.startswith('Hit')
        assert list(part.genotype) == content[name]['genotype']
        logits = searched.parts[name].logits
        best = [searched.parts[name].candidates[i] for i in logits.argmax(1)]
        inner = part.genotype[1:-1] if name == 'backbone' else part.genotype
        assert list(inner) == best
    loss = total_loss(losses_of(model.train(), demo_batch([BOXES])))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters())


def cut(text):
    return text[: len(text) // 2]


def unknown(text):
    return text.replace('"ir_k7_e6"', '"ir_k7e6"').replace('sd_k3', 'sdk3')


def without_neck(text):
    content = json.loads(text)
    del content['neck']
    return json.dumps(content)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (cut, r'g\.json is no complete genotype file, expected JSON as Ar'),
        (lambda text: '', r'g\.json is no complete genotype file, expected'),
        (lambda text: '[1]', r'complete genotype file: it has no backbone\.g'),
        (without_neck, r'it has no neck\.genotype'),
        (unknown, r"in .*g\.json has an unknown operation '.*'; did you mean"),
        (
            lambda text: text.replace('"genotype": [', '"genotype": [7,', 1),
            'an unknown operation 7',
        ),
    ],
)
def test_damaged_files(found, tmp_path, damage, message):
    path = tmp_path / 'g.json'
    write_genotype(path, found[1])
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message) as caught:
        read_genotype(path)
    assert '\n' not in str(caught.value)


def test_other_depth(found):
    content = json.loads(json.dumps(found[1]))
    del content['backbone']['genotype'][3]
    with pytest.raises(ValueError, match='each of the 22 operations of geno'):
        derive_config(content)


def test_command(found, tmp_path, monkeypatch, capsys):
    path, out = tmp_path / 'g.json', tmp_path / 'derived.py'
    write_genotype(path, found[1])
    monkeypatch.setattr(sys, 'argv', ['derive', str(path), str(out)])
    main()
    assert f'mmdet-assigners train {out}' in capsys.readouterr().out
    assert str(path) in out.read_text()
    path.write_text(cut(path.read_text()))
    out.unlink()
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert 'no complete genotype file' in last
    assert not out.exists()
