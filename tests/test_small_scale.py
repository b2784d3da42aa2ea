from pathlib import Path

import pytest
from mmengine.config import Config
from test_datasets.test_roots import coco_root

from mmdet_assigners.small_scale import (
    apply_small_scale,
    load_config,
    merge_mini,
    set_num_classes,
    shrink_model,
    use_data,
)
from mmdet_assigners.utils import resolve_config


def base(name):
    return Config.fromstring(f"_base_ = 'mmdet::{name}.py'", '.py')


@pytest.fixture
def root(tmp_path):
    return str(coco_root(tmp_path))


def test_retinanet(root):
    cfg = apply_small_scale(
        base('retinanet/retinanet_r50_fpn_1x_coco'), root, epochs=3
    )
    model = cfg.model
    assert (model.backbone.depth, model.backbone.base_channels) == (18, 16)
    assert 'init_cfg' not in model.backbone
    assert model.neck.in_channels == [16, 32, 64, 128]
    assert model.neck.out_channels == 64
    assert model.bbox_head.feat_channels == 64
    assert model.bbox_head.stacked_convs == 2
    assert model.bbox_head.num_classes == 2
    assert cfg.train_cfg.max_epochs == 3
    warmup, steps = cfg.param_scheduler
    assert warmup.end == 50
    assert (steps.milestones, steps.end) == ([2, 3], 3)
    dataset = cfg.train_dataloader.dataset
    assert dataset.metainfo.classes == ('cell', 'plate')
    assert dataset.ann_file.endswith('train.json')
    assert cfg.val_evaluator.ann_file.endswith('val.json')
    resize = [t for t in dataset.pipeline if t.type == 'Resize']
    assert resize[0].scale == (320, 240)
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    # the method itself stays
    full = base('retinanet/retinanet_r50_fpn_1x_coco')
    assert model.train_cfg == full.model.train_cfg
    assert model.bbox_head.loss_cls == full.model.bbox_head.loss_cls


def test_keeps_what_the_method_says_of_training(root):
    cfg = apply_small_scale(base('fsaf/fsaf_r50_fpn_1x_coco'), root)
    assert cfg.optim_wrapper.clip_grad.max_norm == 10


def test_evaluates_on_train(root):
    cfg = apply_small_scale(
        base('retinanet/retinanet_r50_fpn_1x_coco'), root, eval_on='train'
    )
    assert cfg.val_dataloader.dataset.ann_file.endswith('train.json')
    assert cfg.test_evaluator.ann_file.endswith('train.json')


def test_two_stage_with_masks_and_multi_scale(tmp_path):
    root = coco_root(tmp_path, masks=True)
    cfg = apply_small_scale(
        base('mask_rcnn/mask-rcnn_r50_fpn_ms-poly-3x_coco'), str(root)
    )
    roi_head = cfg.model.roi_head
    assert roi_head.bbox_head.num_classes == 2
    assert roi_head.mask_head.num_classes == 2
    assert roi_head.bbox_head.fc_out_channels == 256
    assert roi_head.mask_head.num_convs == 2
    train, test = cfg.model.train_cfg, cfg.model.test_cfg
    assert (train.rcnn.sampler.num, train.rpn.sampler.num) == (128, 256)
    assert (train.rpn_proposal.nms_pre, test.rpn.max_per_img) == (500, 250)
    assert test.rcnn.max_per_img == 100


@pytest.mark.parametrize(
    'name',
    [
        'retinanet/retinanet_r50_fpn_1x_coco',
        'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
        'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco',
        'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco',
        'yolox/yolox_s_8xb8-300e_coco',
        'detr/detr_r50_8xb2-150e_coco',
        'tood/tood_r50_fpn_1x_coco',
    ],
)
def test_shrunk_models_build(name):
    """Different families, none of them named in the overlay."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    cfg = base(name)
    shrink_model(cfg.model)
    set_num_classes(cfg.model, 3)
    MODELS.build(cfg.model)


def test_all_widths_of_reppoints():
    cfg = base('reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco')
    shrink_model(cfg.model)
    head = cfg.model.bbox_head
    assert head.feat_channels == head.point_feat_channels == 64


def test_sizes_of_mini_stay(root):
    cfg = Config.fromstring(
        """
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
mini = dict(train_dataloader=dict(dataset=dict(pipeline=[
    dict(type='Resize', scale=(320, 320), keep_ratio=True)])))
""",
        '.py',
    )
    (resize,) = apply_small_scale(cfg, root).train_dataloader.dataset.pipeline
    assert resize.scale == (320, 320)


def test_own_backbone_is_left_to_mini():
    cfg = Config.fromstring(
        """
model = dict(
    backbone=dict(type='Own', width=64),
    neck=[dict(type='FPN', out_channels=256), dict(type='N', n=4)])
mini = dict(model=dict(backbone=dict(width=8), neck={'1': dict(n=2)}))
""",
        '.py',
    )
    shrink_model(cfg.model)
    assert cfg.model.neck[0].out_channels == 256
    merge_mini(cfg)
    assert cfg.model.backbone == dict(type='Own', width=8)
    assert cfg.model.neck == [
        dict(type='FPN', out_channels=256),
        dict(type='N', n=2),
    ]
    assert 'mini' not in cfg


def test_splits_with_other_classes(tmp_path):
    root = coco_root(tmp_path)
    val = root / 'annotations' / 'val.json'
    val.write_text(val.read_text().replace('cell', 'cat'))
    with pytest.raises(ValueError, match=r"'cat'.*'cell'"):
        use_data(base('retinanet/retinanet_r50_fpn_1x_coco'), str(root))


def test_masks_that_are_not_there(root):
    cfg = base('mask_rcnn/mask-rcnn_r50_fpn_1x_coco')
    with pytest.raises(ValueError, match=r'train\.json has no segmentations'):
        apply_small_scale(cfg, root)


def test_data_without_the_overlay(tmp_path):
    root = coco_root(tmp_path, masks=True)
    cfg = base('mask_rcnn/mask-rcnn_r50_fpn_1x_coco')
    use_data(cfg, str(root))
    assert cfg.train_dataloader.dataset.ann_file.endswith('train.json')
    assert cfg.model.roi_head.mask_head.num_classes == 2
    assert cfg.model.backbone.depth == 50


@pytest.mark.parametrize('key', ['epochs', 'batch_size'])
def test_bad_numbers(root, key):
    with pytest.raises(ValueError, match=f'{key} must be at least 1, got 0'):
        apply_small_scale(
            base('retinanet/retinanet_r50_fpn_1x_coco'), root, **{key: 0}
        )


def test_several_evaluators(root):
    cfg = base('retinanet/retinanet_r50_fpn_1x_coco')
    strict = dict(cfg.val_evaluator, iou_thrs=[0.9], prefix='coco_90')
    cfg.val_evaluator = [cfg.val_evaluator, strict]
    apply_small_scale(cfg, root)
    files = [Path(part.ann_file).name for part in cfg.val_evaluator]
    assert files == ['val.json'] * 2
    assert cfg.test_evaluator.ann_file.endswith('val.json')


RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco'


def test_load_config_without_data():
    cfg = load_config(
        RETINA,
        mini=True,
        num_classes=3,
        options={'model.bbox_head.stacked_convs': 1},
    )
    assert cfg.model.backbone.depth == 18
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.model.bbox_head.stacked_convs == 1  # merged last
    (resize,) = (
        step
        for step in cfg.test_dataloader.dataset.pipeline
        if step.type == 'Resize'
    )
    assert resize.scale == (320, 240)
    # schedule and files are those of the config
    assert cfg.train_cfg.max_epochs == 12
    assert cfg.train_dataloader.dataset.data_root == 'data/coco/'


def test_load_config_with_data_is_the_overlay(root):
    ours = load_config(RETINA, True, root, epochs=3, batch_size=2)
    overlay = Config.fromfile(resolve_config(RETINA))
    apply_small_scale(overlay, root, epochs=3, batch_size=2)
    for key in ('model', 'train_cfg', 'param_scheduler', 'train_dataloader'):
        assert ours[key] == overlay[key]


@pytest.mark.parametrize('key', ['epochs', 'batch_size'])
def test_load_config_refuses_zero(key):
    with pytest.raises(ValueError, match=f'{key} must be at least 1, got 0'):
        load_config(RETINA, **{key: 0})
