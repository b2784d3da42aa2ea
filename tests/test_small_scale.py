from pathlib import Path

import pytest
from helpers import BOXES, demo_batch, losses_of, total_loss
from mmdet.datasets.transforms import Resize
from mmdet.registry import METRICS, MODELS
from mmengine.config import Config
from small_scale_page import compared_rows
from test_datasets.test_roots import coco_root

from mmdet_assigners.small_scale import (
    apply_protocol,
    apply_small_scale,
    load_config,
    merge_mini,
    set_num_classes,
    shrink_model,
    use_data,
)
from mmdet_assigners.utils import leaf_datasets, resolve_config


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
    with pytest.raises(ValueError, match=r'train\.json: 1 of 1 annotations'):
        apply_small_scale(cfg, root)


def test_data_without_the_overlay(tmp_path):
    root = coco_root(tmp_path, masks=True)
    cfg = base('mask_rcnn/mask-rcnn_r50_fpn_1x_coco')
    use_data(cfg, str(root))
    assert cfg.train_dataloader.dataset.ann_file.endswith('train.json')
    assert cfg.model.roi_head.mask_head.num_classes == 2
    assert cfg.model.backbone.depth == 50


@pytest.mark.parametrize(
    'name',
    [
        'mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712',  # repeated, joined
        'mmdet::wider_face/retinanet_r50_fpn_1x_widerface',
    ],
)
def test_configs_of_other_formats(root, name):
    cfg = load_config(name, mini=True, data=root)
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        ((_, dataset),) = leaf_datasets(loader)
        assert dataset['type'] == 'CocoDataset'
        assert dataset['metainfo'] == dict(classes=('cell', 'plate'))
    metric = METRICS.build(cfg.val_evaluator)
    assert type(metric).__name__ == 'CocoMetric'


def test_no_validation(root, tmp_path):
    path = tmp_path / 'mine.py'
    base = resolve_config('atss-ladder_r50_fpn_1x_coco')
    keys = ('val_dataloader', 'val_cfg', 'val_evaluator')
    text = ''.join(f'{key} = None\n' for key in keys)
    path.write_text(f'_base_ = {base!r}\n{text}')
    for mini in (True, False):
        cfg = load_config(str(path), mini=mini, data=root)
        assert all(cfg[key] is None for key in keys)


def test_types_with_a_scope_and_classes(root):
    """mmengine takes them like bare names; the overlay is the same."""
    name = 'retinanet/retinanet_r50_fpn_1x_coco'
    plain, scoped = base(name), base(name)
    scoped.model.backbone.type = 'mmdet.ResNet'
    for transform in scoped.train_dataloader.dataset.pipeline:
        transform.type = f'mmdet.{transform.type}'
    scoped.test_dataloader.dataset.pipeline[1].type = Resize
    for cfg in (plain, scoped):
        apply_small_scale(cfg, root)
    assert scoped.model == plain.model
    resize = scoped.train_dataloader.dataset.pipeline[2]
    assert (resize.type, resize.scale) == ('mmdet.Resize', (320, 240))
    assert scoped.test_dataloader.dataset.pipeline[1].scale == (320, 240)


def test_iterations_are_refused(root):
    cfg = base('retinanet/retinanet_r50_fpn_1x_coco')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=10)
    with pytest.raises(ValueError, match='train_cfg has no max_epochs'):
        apply_small_scale(cfg, root)


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


def test_protocol_is_one_recipe(root):
    """A method and its baseline differ in nothing but the method."""
    baseline = apply_protocol(base('fsaf/fsaf_r50_fpn_1x_coco'), root)
    method = load_config('sapd_r50_fpn_1x_coco', data=root, small=True)
    for key in (
        'train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg',
        'optim_wrapper', 'param_scheduler',
    ):  # fmt: skip
        assert method[key] == baseline[key], key
    for key in ('backbone', 'data_preprocessor'):
        assert method.model[key] == baseline.model[key], key
    dataset = method.train_dataloader.dataset
    assert [t.type for t in dataset.pipeline] == [
        'LoadImageFromFile', 'LoadAnnotations', 'Resize', 'RandomFlip',
        'PackDetInputs',
    ]  # fmt: skip
    assert method.train_dataloader.drop_last
    assert dataset.metainfo.classes == ('cell', 'plate')
    assert method.model.bbox_head.num_classes == 2
    assert 'mini' not in method and 'small' not in method


def test_protocol_model(root):
    cfg = load_config(
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', data=root, small=True
    )
    model = cfg.model
    assert model.backbone.type == 'EfficientNetLite0'
    assert list(model.backbone.out_indices) == [2, 3, 4, 5]
    assert model.neck.in_channels == [24, 40, 112, 320]
    assert model.neck.out_channels == 64
    assert model.bbox_head.stacked_convs == 2


def test_protocol_epochs_and_batch(root):
    cfg = load_config(
        'atss-ladder_r50_fpn_1x_coco', data=root, small=True, epochs=24,
        batch_size=2,
    )  # fmt: skip
    warmup, cosine = cfg.param_scheduler
    assert (cosine.end, cosine.T_max, warmup.end) == (24, 24, 50)
    assert cfg.train_cfg.max_epochs == 24
    # evaluated after 12, 16, 20 and 24
    assert (cfg.train_cfg.val_begin, cfg.train_cfg.val_interval) == (12, 4)
    assert cfg.train_dataloader.batch_size == 2


def test_protocol_trains_masks(tmp_path):
    root = str(coco_root(tmp_path, masks=True))
    cfg = apply_protocol(base('mask_rcnn/mask-rcnn_r50_fpn_1x_coco'), root)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert pipeline[1] == dict(
        type='LoadAnnotations', with_bbox=True, with_mask=True
    )
    assert cfg.val_evaluator.metric == ['bbox', 'segm']


def test_diff_of_the_protocol_is_merged_last(tmp_path, root):
    path = tmp_path / 'own.py'
    path.write_text("""
_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
mini = dict(
    model=dict(bbox_head=dict(stacked_convs=1, feat_channels=32)),
    train_dataloader=dict(batch_size=1),
)
small = dict(
    model=dict(bbox_head=dict(stacked_convs=3)), train_cfg=dict(max_epochs=12)
)
""")
    cfg = load_config(str(path), data=root, small=True)
    head = cfg.model.bbox_head
    assert (head.stacked_convs, head.feat_channels) == (3, 32)
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler[1].T_max) == (12, 12)
    assert cfg.train_dataloader.batch_size == 4  # mini's is not that of all
    head = load_config(str(path), True, root).model.bbox_head
    assert (head.stacked_convs, head.feat_channels) == (1, 32)


@pytest.mark.parametrize('arguments', [dict(mini=True, data='x'), {}])
def test_protocol_needs_data_and_excludes_mini(arguments):
    with pytest.raises(ValueError, match='small=True needs data'):
        load_config('sapd_r50_fpn_1x_coco', small=True, **arguments)


@pytest.mark.parametrize(
    'config',
    sorted({row.config for row in compared_rows() if '::' not in row.config}),
)
def test_every_row_trains_under_the_protocol(config, tmp_path):
    root = coco_root(tmp_path, masks=True)
    cfg = load_config(config, data=str(root), small=True)
    if cfg.model.backbone.type == 'EfficientNetLite0':
        cfg.model.backbone.cache_dir = None
    else:  # the config has its own, from random weights
        assert cfg.model.backbone.get('init_cfg') is None
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    loss = total_loss(losses_of(model, demo_batch([BOXES, BOXES])))
    assert loss.isfinite()
    loss.backward()
