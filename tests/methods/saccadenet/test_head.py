import pytest
import torch
from helpers import BOXES, demo_batch
from mmengine.structures import InstanceData

from mmdet_assigners.methods.saccadenet import (
    AggregationAttention,
    SaccadeHead,
)
from mmdet_assigners.methods.saccadenet.aggregation import MODES
from mmdet_assigners.ops.deform_conv import deform_conv

SIZE = (96, 128)
META = dict(batch_input_shape=SIZE, img_shape=SIZE)


def head_of(**kwargs):
    torch.manual_seed(0)
    head = SaccadeHead(4, 8, 3, test_cfg=dict(topk=20), **kwargs)
    head.init_weights()
    return head


def gt():
    return InstanceData(
        bboxes=torch.tensor([[8.0, 8, 60, 70], [60, 20, 110, 53]]),
        labels=torch.tensor([0, 2]),
    )


@pytest.mark.parametrize('mode', [*MODES])
def test_corrections_start_at_zero(mode):
    module = AggregationAttention(4, 8, 2, mode)
    change = module(torch.randn(2, 4, 9, 7), 10 * torch.rand(2, 2, 9, 7))
    assert not change.any()


@pytest.mark.parametrize(
    ('tap', 'logit', 'place'),
    [(0, 0, (-2, -3)), (2, 1, (-2, 3)), (6, 3, (2, -3)), (8, 4, (2, 3))],
)
def test_one_tap_reads_its_corner(tap, logit, place):
    """All masks but one closed, for boxes of 6 x 4 cells."""
    torch.manual_seed(0)
    module = AggregationAttention(3, 5, out_channels=5)
    module.conv_offset_mask.bias.data[2:] = -40.0
    module.conv_offset_mask.bias.data[2 + logit] = 40.0
    module.conv1x1.weight.data = torch.eye(5)[..., None, None]
    x = torch.randn(1, 3, 12, 14)
    sizes = torch.tensor([6.0, 4])[:, None, None].expand(1, 2, 12, 14)
    found = module(x, sizes)
    dy, dx = place
    y, x0 = 5, 6
    corner = x[0, :, y + dy, x0 + dx]
    expected = module.weight[:, :, tap // 3, tap % 3] @ corner
    torch.testing.assert_close(
        found[0, :, y, x0], expected.relu(), rtol=1e-4, atol=1e-5
    )


def test_gradients_reach_sizes_through_the_places_alone():
    """A hundredth of what they would be."""
    torch.manual_seed(0)
    grads = []
    for scale in (1.0, 0.01):
        torch.manual_seed(1)
        module = AggregationAttention(3, 5, grad_scale=scale)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
        sizes = (1 + 4 * torch.rand(1, 2, 8, 9)).requires_grad_()
        module(torch.randn(1, 3, 8, 9), sizes).square().sum().backward()
        grads.append(sizes.grad)
    assert grads[0].abs().max() > 0
    torch.testing.assert_close(grads[1], grads[0] / 100)


def test_a_mirrored_map_is_refined_alike():
    """With mirrored kernels, and the masks of left and right exchanged."""
    torch.manual_seed(0)
    module = AggregationAttention(3, 5)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mirror = AggregationAttention(3, 5)
    mirror.load_state_dict(module.state_dict())
    order = [0, 1, 3, 2, 4, 6, 5]  # dy, dx, then corners and center
    with torch.no_grad():
        mirror.weight.copy_(module.weight.flip(-1))
        for name in ('weight', 'bias'):
            values = getattr(module.conv_offset_mask, name)[order].clone()
            values[1] *= -1  # dx
            if name == 'weight':
                values = values.flip(-1)
            getattr(mirror.conv_offset_mask, name).copy_(values)
    x, sizes = torch.randn(1, 3, 8, 9), 4 * torch.rand(1, 2, 8, 9)
    torch.testing.assert_close(
        mirror(x.flip(-1), sizes.flip(-1)).flip(-1),
        module(x, sizes),
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_corner_branch_does_not_predict():
    head = head_of().eval()
    x = [torch.randn(2, 4, 24, 32)]
    samples = demo_batch([BOXES, BOXES])['data_samples']
    for sample in samples:
        sample.set_metainfo(META)
    plain = head.predict(x, samples)
    head.corner_head = None
    for found, expected in zip(head.predict(x, samples), plain, strict=True):
        assert torch.equal(found.bboxes, expected.bboxes)


def test_corrections_are_what_predicts():
    head = head_of().eval()
    outs = list(head([torch.randn(1, 4, 24, 32)]))
    outs[3] = [outs[3][0] + 8]
    (found,) = head.predict_by_feat(*outs, batch_img_metas=[META])
    outs[3] = [outs[3][0] - 8]
    (plain,) = head.predict_by_feat(*outs, batch_img_metas=[META])
    sides = [r.bboxes[:, 2:] - r.bboxes[:, :2] for r in (found, plain)]
    torch.testing.assert_close(sides[0] - sides[1], torch.full((20, 2), 32.0))


def test_losses():
    head = head_of(refine_offset=True)
    outs = head([torch.randn(1, 4, 24, 32)], corners=True)
    losses = head.loss_by_feat(*outs, [gt()], [META])
    assert {*losses} == {
        'loss_center_heatmap',
        'loss_wh',
        'loss_offset',
        'loss_corner',
        'loss_final_wh',
        'loss_final_offset',
    }
    # nothing is corrected before training
    torch.testing.assert_close(losses['loss_final_wh'], losses['loss_wh'])


def test_two_channels_or_one():
    outs = head_of()([torch.zeros(1, 4, 24, 32)])
    for single, peaks in ((False, [2, 2, 2, 2]), (True, [8, 0, 0, 0])):
        head = head_of(single_channel=single)
        inputs = head.bind_inputs(*outs, [gt()], [META])
        maps = head.corner_targets(inputs, head.center_targets(inputs))
        assert (maps == 1).sum((0, 2, 3)).tolist() == peaks


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(agg_mode='edges'), "mode must be one of .'corners', 'corners_e"),
        (dict(num_stacks=2), 'SaccadeHead takes num_stacks=1 alone, got 2'),
        (dict(gaussian_rule='mmdet'), "gaussian_rule='official' alone"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        head_of(**options)


def test_starts_from_centernet():
    """What its weights lack is the refinement and the corner branch."""
    from mmdet_assigners.models.dense_heads import CenterPointHead

    missing, extra = head_of().load_state_dict(
        CenterPointHead(4, 8, 3).state_dict(), strict=False
    )
    assert not extra
    assert {n.partition('.')[0] for n in missing} == {'agg_att', 'corner_head'}


def test_official_v1_reads_the_right_side():
    torch.manual_seed(0)
    module = AggregationAttention(3, 5, 5, 'official_v1')
    module.conv1x1.weight.data = torch.eye(5)[..., None, None]
    module.weight.data[:, :, :2] = 0
    module.weight.data[:, :, 2, :2] = 0  # tap 8 alone
    x = torch.randn(1, 3, 12, 14)
    sizes = torch.tensor([6.0, 4])[:, None, None].expand(1, 2, 12, 14)
    offset = torch.zeros(1, 18, 12, 14)
    offset[:, 16], offset[:, 17] = -1, 2  # from (1, 1) to (0, 3)
    expected = deform_conv(x, offset, module.weight, 1, 1).relu() / 2
    torch.testing.assert_close(module(x, sizes), expected)
