"""MBRM, in RDSNet and around other detectors."""

import copy
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_api
import pytest
import torch
from helpers import BOXES, demo_batch, mini_config, mini_model
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.runner.checkpoint import load_state_dict
from mmengine.structures import InstanceData

from mmdet_assigners.diagnostics.checkpoints import check_weights
from mmdet_assigners.methods.rdsnet import MaskBoundaryRefinement
from mmdet_assigners.methods.rdsnet import functional as rdsnet
from mmdet_assigners.utils import config_path, resolve_config

CONFIG = Path(config_path('rdsnet_mbrm_r50_fpn_1x_coco'))
RECTANGLE = [30, 20, 70, 58]


def rectangle():
    masks = torch.zeros(1, 120, 100)
    x1, y1, x2, y2 = RECTANGLE
    masks[0, y1:y2, x1:x2] = 1
    return masks


def refine(box, masks=None, **options):
    masks = rectangle() if masks is None else masks
    boxes = torch.tensor([box], dtype=torch.float32)
    return MaskBoundaryRefinement(**options)(masks, boxes)[0].tolist()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bool])
def test_the_box_of_a_rectangle_stays(dtype):
    assert refine(RECTANGLE, rectangle().to(dtype)) == RECTANGLE


def test_a_shifted_box_moves_to_the_mask():
    # less than two standard deviations, which are 0.05 of its sides
    assert refine([33, 22, 67, 56]) == RECTANGLE
    # from outside it stops a pixel earlier: the kernel is learned
    found = refine([27, 18, 73, 60])
    assert max(abs(a - b) for a, b in zip(found, RECTANGLE, strict=True)) <= 1


def test_a_mask_of_nothing_leaves_the_box():
    nothing = torch.zeros(1, 120, 100)
    assert refine(RECTANGLE, nothing) == RECTANGLE
    # to a whole pixel
    assert refine([30.4, 20.6, 70.4, 57.6], nothing) == [30, 21, 70, 58]


def test_boxes_come_closer_to_round_objects():
    """Sides that are off by up to two standard deviations of the prior."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.rand(*shape, generator=generator)

    corner = (noise(50, 2) * 30).round() + 10
    sides = (noise(50, 2) * 50).round() + 20
    objects = torch.cat((corner, corner + sides), 1)
    center, radius = corner + sides / 2, sides / 2
    points = torch.cartesian_prod(torch.arange(120), torch.arange(100)) + 0.5
    offset = (points.flip(1) - center[:, None]) / radius[:, None]
    masks = (offset.norm(dim=2) <= 1).float().view(50, 120, 100)
    boxes = objects + 0.1 * sides.repeat(1, 2) * (2 * noise(50, 4) - 1)
    found = MaskBoundaryRefinement()(masks, boxes)
    before, after = (
        bbox_overlaps(rows, objects, is_aligned=True)
        for rows in (boxes, found)
    )
    assert after.mean() > before.mean() + 0.1
    assert (after >= before - 0.02).all()


def test_borders_of_the_image():
    masks = torch.ones(1, 120, 100)
    assert refine([0, 0, 100, 120], masks) == [0, 0, 100, 120]


def test_options():
    box = [36, 20, 70, 58]
    # a narrow prior does not reach the mask, a wide one does
    assert refine(box, gamma=0.0, sigma_min=0.5)[0] > 34
    assert abs(refine(box, gamma=0.2)[0] - 30) <= 1
    assert refine(box, gamma=0.0, sigma_min=0.5, prior_cut=0.99) == box
    # a step from 0 to 1
    assert refine(box, kernel=(-9, 9, 0), bias=-3.0, gamma=0.2)[0] == 30


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(kernel=[1, 2]), r'kernel must have an odd number of .* got 2'),
        (dict(gamma=-1), 'gamma must be at least 0, got -1'),
        (dict(sigma_min=0), 'sigma_min must be positive, got 0'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MaskBoundaryRefinement(**options)


def test_results_of_any_detector():
    results = InstanceData(
        bboxes=torch.tensor([[33.0, 22, 67, 56]]),
        scores=torch.tensor([0.5]),
        masks=rectangle().bool(),
    )
    refined = MaskBoundaryRefinement().refine(results)
    assert refined.bboxes.tolist() == [RECTANGLE]
    assert refined.scores.tolist() == [0.5]
    assert results.bboxes[0, 0] == 33  # the original stays
    empty = MaskBoundaryRefinement().refine(results[:0])
    assert empty.bboxes.shape == (0, 4)
    results.pop('masks')
    with pytest.raises(ValueError, match='must have masks, got bboxes, score'):
        MaskBoundaryRefinement().refine(results)
    with pytest.raises(ValueError, match='expected, got 1 and 2'):
        MaskBoundaryRefinement()(rectangle(), torch.zeros(2, 4))


def test_forms_of_masks():
    mask = rectangle().bool()
    array = mask.numpy().astype(np.uint8)
    size = array.shape[-2:]
    box = [33, 22, 67, 56]
    for masks in (
        array,
        BitmapMasks(array, *size),
        [mask_api.encode(np.asfortranarray(array[0]))],
    ):
        results = InstanceData(bboxes=torch.tensor([box]).float(), masks=masks)
        refined = MaskBoundaryRefinement().refine(results)
        assert refined.bboxes.tolist() == [RECTANGLE]


def detections(model, rescale=True):
    data = model.data_preprocessor(demo_batch([BOXES]), False)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(ori_shape=(64, 80), scale_factor=(2.0, 2.0)))
    with torch.no_grad():
        (found,) = model.predict(**renamed(data), rescale=rescale)
    return found.pred_instances


def renamed(data):
    return dict(
        batch_inputs=data['inputs'], batch_data_samples=data['data_samples']
    )


@pytest.fixture(scope='module')
def model():
    model = mini_model(CONFIG).eval()
    model.bbox_head.test_cfg.score_thr = 0.0
    model.bbox_head.test_cfg.max_per_img = 20
    torch.nn.init.normal_(model.bbox_head.retina_rep.weight, std=0.5)
    return model


@pytest.mark.parametrize('rescale', [True, False])
def test_refinement_changes_boxes_alone(model, rescale):
    refined = detections(model, rescale)
    plain = copy.deepcopy(model)
    plain.mask_head.mbrm = None
    expected = detections(plain, rescale)
    shape = (64, 80) if rescale else (128, 160)
    assert expected.masks.shape == (20, *shape)
    assert expected.masks.any()
    for key in ('masks', 'scores', 'labels'):
        assert torch.equal(refined[key], expected[key])
    assert not torch.equal(refined.bboxes, expected.bboxes)
    assert (refined.bboxes - expected.bboxes).abs().max() < 0.25 * max(shape)


def test_checkpoints_are_the_same_with_and_without_it(model):
    plain = mini_model(Path(config_path('rdsnet_r50_fpn_1x_coco')))
    assert plain.mask_head.mbrm is None
    assert plain.state_dict().keys() == model.state_dict().keys()


def test_masks_of_many_objects_are_made_in_parts(model, monkeypatch):
    expected = detections(model)
    name = 'mmdet_assigners.methods.rdsnet.mask_head._MAX_PIXELS'
    monkeypatch.setattr(name, 3 * 64 * 80)
    found = detections(model)
    assert torch.equal(found.masks, expected.masks)
    assert torch.equal(found.bboxes, expected.bboxes)


@pytest.fixture(scope='module')
def mask_rcnn():
    path = resolve_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg = mini_config(path).model
    cfg.test_cfg.rcnn.score_thr = 0.0
    cfg.test_cfg.rcnn.max_per_img = 10
    return cfg


def test_around_mask_rcnn(mask_rcnn, tmp_path):
    torch.manual_seed(0)
    detector = MODELS.build(mask_rcnn)
    detector.init_weights()
    wrapper = MODELS.build(
        dict(
            type='MaskBoundaryTTA',
            module=mask_rcnn,
            refinement=dict(gamma=0.1),
        )
    ).eval()
    torch.save(dict(state_dict=detector.state_dict()), tmp_path / 'it.pth')
    check_weights(wrapper, tmp_path / 'it.pth')
    # as the runner loads it
    load_state_dict(wrapper, detector.state_dict(), strict=True)
    with torch.no_grad():
        (found,) = wrapper.test_step(demo_batch([BOXES]))
        (expected,) = detector.eval().test_step(demo_batch([BOXES]))
    found, expected = found.pred_instances, expected.pred_instances
    assert torch.equal(found.masks, expected.masks)
    refinement = MaskBoundaryRefinement(gamma=0.1)
    boxes = refinement(expected.masks, expected.bboxes)
    assert torch.equal(found.bboxes, boxes)
    assert not torch.equal(boxes, expected.bboxes)


def test_the_config_of_the_readme():
    text = (CONFIG.parent / 'README.md').read_text()
    block = next(
        part
        for part in text.split('```')
        if 'MaskBoundaryTTA' in part and part.startswith('python')
    )
    cfg = Config.fromstring(block.removeprefix('python'), '.py')
    assert cfg.model.type == 'MaskBoundaryTTA'
    assert cfg.model.module.type == 'MaskRCNN'


def test_likelihood_prefers_the_edge():
    """Without a prior to speak of, the kernel alone finds the border."""
    refinement = MaskBoundaryRefinement(gamma=1e3)
    boxes = torch.tensor([[50.0, 40, 51, 41]])
    left, top, right, bottom = refinement.posteriors(rectangle(), boxes)
    assert abs(left.argmax() - 30) <= 1 and abs(top.argmax() - 20) <= 1
    assert abs(right.argmax() - 69) <= 1 and abs(bottom.argmax() - 57) <= 1
    refined = rdsnet.refined_boxes((left, top, right, bottom), boxes)
    assert refined.shape == (1, 4)
