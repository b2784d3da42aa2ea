import io

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, mini_model
from helpers import total_loss as total
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict

from mmdet_assigners.methods.dsfpn.dual_pyramid import DualPyramid
from mmdet_assigners.methods.dsfpn.roi_heads import (
    DuallySupervisedCascadeRoIHead,
    DuallySupervisedRoIHead,
    box_losses,
)
from mmdet_assigners.utils import config_path

SUPERVISED = 'dsfpn-supervised_{}_r50_fpn_1x_coco'
DECOUPLED = 'dsfpn-decoupled_{}_r50_fpn_1x_coco'
BOTH = 'dsfpn_{}_r50_fpn_1x_coco'
IMAGES = [BOXES[:2]]
TWINS = {'aux.loss_cls', 'aux.loss_bbox', 'aux.acc'}


def build(name, detector='faster-rcnn', **roi_head):
    config = mini_config(config_path(name.format(detector)))
    config.model.roi_head.update(roi_head)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.train()


def losses(model, images=IMAGES):
    """Losses with the same random choices of RoIs each time."""
    torch.manual_seed(1)
    return losses_of(model, demo_batch(images, size=(64, 80)))


def predict(model):
    torch.manual_seed(1)
    model.eval()
    batch = demo_batch([BOXES], size=(64, 80))
    data = model.data_preprocessor(batch, False)
    with torch.no_grad():
        return model(**data, mode='predict')[0].pred_instances


def main_state(model):
    return {
        name: value
        for name, value in model.state_dict().items()
        if 'aux_' not in name
    }


def has_gradient(module):
    return {
        name: bool(parameter.grad is not None and parameter.grad.any())
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


@pytest.mark.parametrize('detector', ['mask-rcnn', 'cascade-mask-rcnn'])
def test_weight_zero_is_the_decoupled_baseline(detector):
    """Losses and gradients of everything but the twins, to the last bit."""
    ours = build(BOTH, detector, aux_loss_weight=0.0)
    base = build(DECOUPLED, detector)
    base.load_state_dict(main_state(ours))
    found, expected = losses(ours), losses(base)
    assert {n for n in found if 'aux' not in n} == expected.keys()
    for name, value in expected.items():
        assert torch.equal(
            total({'loss': found[name]}), total({'loss': value})
        )
    total(found).backward()
    total(expected).backward()
    theirs = dict(base.named_parameters())
    for name, parameter in ours.named_parameters():
        if 'aux' in name:
            assert not parameter.grad.any(), name
        elif parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, theirs[name].grad)


def test_where_the_auxiliary_losses_reach():
    """Laterals and backbone; not the 3x3 convolutions, RPN or main heads."""
    model = build(BOTH)
    found = losses(model)
    assert found.keys() >= TWINS
    total({n: v for n, v in found.items() if 'aux' in n}).backward()
    # the image is small: all RoIs are on the finest level, and only the
    # addition of the levels could lead from there to the others
    reached = has_gradient(model.neck.lateral_convs)
    assert {name[0] for name in reached if reached[name]} == {'0'}
    assert any(has_gradient(model.backbone.layer1).values())
    assert not any(has_gradient(model.backbone.layer2).values())
    assert all(has_gradient(model.roi_head.aux_bbox_head).values())
    assert not any(has_gradient(model.neck.fpn_convs).values())
    assert not any(has_gradient(model.rpn_head).values())
    assert not any(has_gradient(model.roi_head.bbox_head).values())


@pytest.mark.parametrize('detector', ['faster-rcnn', 'cascade-rcnn'])
def test_twins_share_no_weights_but_their_distribution(detector):
    head = build(BOTH, detector).roi_head
    main, aux = head.bbox_head, head.aux_bbox_head
    if detector == 'cascade-rcnn':
        main, aux = main[0], aux['0']
    assert 0.009 < aux.fc_cls.weight.std() < 0.011  # as mmdet's head says
    main, aux = main.state_dict(), aux.state_dict()
    assert main.keys() == aux.keys()
    assert not any(
        torch.equal(main[name], aux[name]) for name in main if 'weight' in name
    )


@pytest.mark.parametrize('detector', ['mask-rcnn', 'cascade-mask-rcnn'])
def test_twins_see_the_same_targets(detector):
    """With one pyramid and equal weights both have equal losses."""
    model = build(BOTH, detector)
    head, keys = model.roi_head, ('loss_cls', 'loss_bbox', 'loss_mask')
    prefix = ''
    for name in ('bbox', 'mask'):
        main = getattr(head, f'{name}_head')
        aux = getattr(head, f'aux_{name}_head')
        if 'cascade' in detector:
            main, aux, prefix = main[0], aux['0'], 's0.'
        aux.load_state_dict(main.state_dict())
    neck = model.neck.forward
    model.neck.forward = lambda x: DualPyramid(neck(x), neck(x)[:4])
    found = losses(model)
    for key in keys:
        twin, main = found[f'{prefix}aux.{key}'], found[f'{prefix}{key}']
        torch.testing.assert_close(twin, main)
        assert main > 0


def test_cascade_stages():
    """Twins of the chosen stages weigh what their stage weighs."""
    name = 'dsfpn_all-stages_cascade-rcnn_r50_fpn_1x_coco'
    model = build(name)
    found = losses(model)
    assert found.keys() >= {f's{i}.{key}' for i in range(3) for key in TWINS}
    model.roi_head.stage_loss_weights = [1, 1, 1]
    plain = losses(model)
    for stage, weight in enumerate((1, 0.5, 0.25)):
        key = f's{stage}.aux.loss_cls'
        torch.testing.assert_close(found[key], weight * plain[key])
    assert 's1.aux.loss_cls' not in losses(build(BOTH, 'cascade-rcnn'))


def test_evaluation_is_the_baseline():
    """Twins can't run: they are removed."""
    model = build(BOTH)
    base = build(DECOUPLED)
    base.load_state_dict(main_state(model))
    del model.roi_head.aux_bbox_head, model.roi_head.aux_bbox_roi_extractor
    found, expected = predict(model), predict(base)
    assert len(found) == len(expected) > 0
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.bboxes, expected.bboxes)
    assert not TWINS & losses(model).keys()  # of the model in evaluation


@pytest.mark.parametrize('detector', ['mask-rcnn', 'cascade-mask-rcnn'])
def test_loads_without_the_auxiliary_heads(detector):
    model, other = build(BOTH, detector), build(BOTH, detector)
    for parameter in other.parameters():
        parameter.data.add_(1)
    buffer = io.BytesIO()
    torch.save(main_state(other), buffer)
    buffer.seek(0)
    result = model.load_state_dict(torch.load(buffer), strict=True)
    assert result.missing_keys == []
    load_state_dict(model, main_state(other), strict=True)  # mmengine's
    for name, value in main_state(model).items():
        assert torch.equal(value, other.state_dict()[name])


def test_half_an_auxiliary_head_is_an_error():
    model = build(BOTH)
    state = model.state_dict()
    del state['roi_head.aux_bbox_head.fc_cls.weight']
    with pytest.raises(RuntimeError, match=r'aux_bbox_head\.fc_cls\.weight'):
        model.load_state_dict(state)
    state = main_state(model)
    del state['roi_head.bbox_head.fc_cls.weight']
    with pytest.raises(RuntimeError, match=r'"roi_head\.bbox_head\.fc_cls'):
        model.load_state_dict(state)


@pytest.mark.parametrize('images', [[[], []], [BOXES, []]])
def test_no_objects(images):
    """Only background: no box or mask loss, but the same keys."""
    model = build(BOTH, 'mask-rcnn')
    expected = losses(model).keys()
    found = losses(model, images)
    assert found.keys() == expected
    if images == [[], []]:
        assert found['aux.loss_bbox'] == found['aux.loss_mask'] == 0
    total(found).backward()
    assert all(p.grad is not None for p in model.roi_head.parameters())


def test_no_rois():
    """The same keys; losses of 0 that have every parameter in the graph."""
    head = build(BOTH).roi_head.aux_bbox_head

    def run(count):
        zeros = torch.zeros(count, 5)
        targets = zeros[:, 0].long(), zeros[:, 0], zeros[:, 1:], zeros[:, 1:]
        return box_losses(head, torch.ones(count, 64, 7, 7), zeros, targets)

    found = run(0)
    assert found.keys() == run(2).keys()
    assert found['loss_cls'] == found['loss_bbox'] == 0
    total(found).backward()
    assert all((p.grad == 0).all() for p in head.parameters())


def test_decoupled_branches_share_nothing():
    """Two layers per branch, none common."""
    head = build(DECOUPLED).roi_head.bbox_head
    assert len(head.shared_fcs) == 0
    assert len(head.cls_fcs) == len(head.reg_fcs) == 2
    head(torch.randn(2, 64, 7, 7))[0].sum().backward()
    assert head.cls_fcs[0].weight.grad.any()
    assert head.reg_fcs[0].weight.grad is None


def test_needs_the_laterals():
    model = mini_model(config_path('dsfpn_faster-rcnn_r50_fpn_1x_coco'))
    model.train()
    model.neck.eval()
    with pytest.raises(TypeError, match='the neck must give its laterals'):
        losses(model)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(aux_loss_weight=-1), 'aux_loss_weight must be >= 0, got -1'),
        (dict(mask_head=dict(type='FCNMaskHead')), 'mask_roi_extractor must'),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        DuallySupervisedRoIHead(dict(), dict(), **options)


@pytest.mark.parametrize('stages', [(0, 3), (1, 1), (-1,)])
def test_refuses_stages(stages):
    with pytest.raises(ValueError, match=r'aux_stages must be .*0\.\.2, got'):
        DuallySupervisedCascadeRoIHead(
            3, (1, 1, 1), dict(), dict(), None, aux_stages=stages
        )


def test_twins_with_configs_of_their_own():
    """A twin may be configured apart from its head."""
    config = mini_config(config_path(BOTH.format('mask-rcnn')))
    heads = config.model.roi_head
    box, mask = (dict(heads[f'{part}_head']) for part in ('bbox', 'mask'))
    model = build(
        BOTH,
        'mask-rcnn',
        aux_bbox_head=dict(box, fc_out_channels=24),
        aux_mask_head=dict(mask, num_convs=1),
    )
    roi_head = model.roi_head
    assert roi_head.aux_bbox_head.fc_out_channels == 24
    assert roi_head.bbox_head.fc_out_channels != 24
    assert len(roi_head.aux_mask_head.convs) == 1
    assert {'aux.loss_bbox', 'aux.loss_mask'} <= losses(model).keys()
