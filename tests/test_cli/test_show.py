import pytest

from mmdet_assigners.__main__ import main

FSAF = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'
RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


def test_show_against_a_named_base(capsys):
    assert main(['show', FSAF, '--base', RETINA]) == 0
    out = capsys.readouterr().out
    assert "~ model.bbox_head.type: 'RetinaHead' -> 'FSAFHead'" in out
    assert '- model.train_cfg.assigner.pos_iou_thr: 0.5' in out
    assert '+ optim_wrapper.clip_grad.max_norm: 10' in out
    assert '_scope_' not in out


def test_show_finds_the_base_of_our_configs(capsys):
    assert main(['show', 'sepc_retinanet_r50_fpn_1x_coco']) == 0
    out = capsys.readouterr().out
    assert RETINA in out
    assert 'SEPCRetinaHead' in out


def test_parts_that_config_files_share_are_no_changes(capsys):
    assert main(['show', 'mal-released_r50-caffe_fpn_18e_coco']) == 0
    out = capsys.readouterr().out
    assert "~ model.backbone.style: 'pytorch' -> 'caffe'" in out
    assert '+ custom_hooks.0.type' in out
    assert 'detectron' not in out


def test_no_base(tmp_path, capsys):
    path = tmp_path / 'a.py'
    path.write_text('x = 1\n')
    with pytest.raises(SystemExit, match='1'):
        main(['show', str(path)])
    assert 'name one with --base' in capsys.readouterr().err


def test_unknown_config(capsys):
    with pytest.raises(SystemExit, match='1'):
        main(['show', 'sepc_retinanet_r50'])
    assert 'did you mean sepc' in capsys.readouterr().err


def test_unknown_mmdet_config(capsys):
    with pytest.raises(SystemExit, match='1'):
        main(['show', 'mmdet::fsaf/fsaf_r50_fpn_2x_coco.py'])
    assert 'fsaf/fsaf_r50_fpn_1x_coco.py' in capsys.readouterr().err
