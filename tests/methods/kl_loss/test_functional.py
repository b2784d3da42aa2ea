"""Hand-made cases of KL-Loss: coder, loss terms, columns."""

import math

import pytest
import torch
from golden_runner import Case, load_adapters
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.registry import init_default_scope

PRIOR = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # 20 wide, 40 high
BOX = torch.tensor([[12.0, 16.0, 33.0, 68.0]])


def coder(**options):
    init_default_scope('mmdet')
    return TASK_UTILS.build(dict(type='CornerDeltaBBoxCoder', **options))


def loss(**options):
    init_default_scope('mmdet')
    return MODELS.build(dict(type='KLLoss', **options))


def test_coder_by_hand():
    # (2, 3) / 20 and (-4, 8) / 40, times 10; the official order
    found = coder().encode(PRIOR, BOX)
    assert found[0].tolist() == pytest.approx([1.0, 1.5, -1.0, 2.0])
    found = coder(order='xyxy').encode(PRIOR, BOX)
    assert found[0].tolist() == pytest.approx([1.0, -1.0, 1.5, 2.0])
    found = coder(target_stds=1.0).encode(PRIOR, BOX)
    assert found[0].tolist() == pytest.approx([0.1, 0.15, -0.1, 0.2])
    found = coder(plus_one=True).encode(PRIOR, BOX)[0].tolist()
    assert found == pytest.approx([20 / 21, 30 / 21, -40 / 41, 80 / 41])
    # stds are those of x1, y1, x2, y2, whatever the order of the columns
    found = coder(target_stds=[0.1, 0.2, 0.4, 0.5]).encode(PRIOR, BOX)
    assert found[0].tolist() == pytest.approx([1.0, 0.375, -0.5, 0.4])


def test_box_type():
    from mmdet.structures.bbox import HorizontalBoxes

    boxes = coder(use_box_type=True).decode(PRIOR, torch.zeros(1, 4))
    assert isinstance(boxes, HorizontalBoxes)
    torch.testing.assert_close(boxes.tensor, PRIOR)


def test_golden_coder_reads_a_tuple_of_weights():
    """The first is for x1 and y1, the second for x2 and y2."""
    case = Case(
        method='kl_loss',
        name='tuple',
        op='kl_loss.corner_coder',
        params=dict(
            weights=[10.0, 5.0, 3.0, 3.0],
            plus_one=False,
            delta_clip_after_division=62.5,
            num_classes=1,
        ),
        tolerances={},
        inputs=dict(
            proposals=PRIOR, gts=BOX, deltas=torch.tensor([[1, 0.75, -1, 1]])
        ),
        weights={},
        expected={},
    )
    found = load_adapters()[case.op](case)
    assert found['targets'][0].tolist() == pytest.approx([1, 0.75, -1, 1])
    torch.testing.assert_close(found['decoded'], BOX)


@pytest.mark.parametrize('order', ['xxyy', 'xyxy'])
@pytest.mark.parametrize('plus_one', [False, True])
def test_coder_round_trip(order, plus_one):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(50, 2, generator=generator).double() * 50
    size = torch.rand(50, 2, generator=generator).double() * 40 + 1
    priors = torch.cat((corner, corner + size), 1)
    boxes = priors[torch.randperm(50, generator=generator)]
    part = coder(order=order, plus_one=plus_one, target_stds=[0.1, 0.2] * 2)
    torch.testing.assert_close(
        part.decode(priors, part.encode(priors, boxes)), boxes
    )


def test_decode_of_several_classes_clips():
    deltas = torch.tensor([[0.0] * 4 + [-10, 10, 10, -10] + [1e6, 0, 0, 0]])
    found = coder().decode(PRIOR, deltas, max_shape=(64, 48))
    assert found.view(3, 4).tolist() == [
        [10, 20, 30, 60],
        [0, 60, 48, 20],  # -10, 60, 50, 20: nothing orders the sides
        [48, 20, 30, 60],
    ]
    found = coder(clip_border=False).decode(PRIOR, deltas)
    assert found.view(3, 4)[2, 0] == 10 + 62.5 * 20
    found = coder(plus_one=True).decode(PRIOR, deltas, max_shape=(64, 48))
    assert found.view(3, 4)[1, 2] == 47


def test_decode_of_half_precision_is_float32():
    """NMS takes nothing else under mixed precision, where RPNs decode."""
    priors = torch.tensor([[1001.0, 1.0, 1011.0, 21.0]])
    deltas = torch.tensor([[0.013, 0.5, -0.25, 1.0]])
    boxes = coder().decode(priors, deltas.half())
    assert boxes.dtype == torch.float32
    expected = coder().decode(priors, deltas.half().float())
    assert torch.equal(boxes, expected)


def test_sigmas_follow_the_sides():
    alpha = torch.tensor([1.0, 2.0, 4.0, 8.0]).square().log()[None]
    pixels, normalized = coder().decode_sigmas(PRIOR, alpha)
    # columns x1, x2, y1, y2; 2 pixels per unit of x, 4 per unit of y
    assert normalized[0].tolist() == pytest.approx([1, 4, 2, 8])
    assert pixels[0].tolist() == pytest.approx([2, 16, 4, 32])
    pixels, _ = coder(order='xyxy').decode_sigmas(PRIOR, alpha)
    assert pixels[0].tolist() == pytest.approx([2, 8, 8, 32])


def test_prior_without_area_is_finite():
    flat = torch.tensor([[5.0, 5.0, 5.0, 9.0]])
    assert coder().encode(flat, flat).tolist() == [[0, 0, 0, 0]]
    assert coder().encode(flat, BOX).isfinite().all()


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(order='yxyx'), 'order must be one of xxyy, xyxy'),
        (dict(target_stds=[0.1, 0.1]), 'target_stds must be a positive'),
        (dict(target_stds=0.0), 'target_stds must be a positive'),
        (dict(max_shift=0), 'max_shift must be positive'),
    ],
)
def test_coder_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        coder(**options)


def test_loss_by_hand():
    """d = 0.5: SL1 0.125; d = 3: 2.5."""
    pred = torch.tensor([[0.5, 3.0]])
    alpha = torch.tensor([[math.log(4.0), math.log(0.25)]])
    expected = [0.125 / 4 + math.log(2.0), 2.5 * 4 - math.log(2.0)]
    found = loss(reduction='none')(pred, alpha, torch.zeros(1, 2))
    assert found[0].tolist() == pytest.approx(expected)
    found = loss(loss_weight=2.0)(
        pred, alpha, torch.zeros(1, 2), avg_factor=8.0
    )
    assert found.item() == pytest.approx(2 * sum(expected) / 8)
    # beta 2: 0.5^2 / 4 and 3 - 1
    found = loss(reduction='none', beta=2.0)(pred, 0 * alpha, 0 * pred)
    assert found[0].tolist() == pytest.approx([0.0625, 2.0])


def test_gradients_in_closed_form():
    torch.manual_seed(0)
    pred, alpha, target = torch.randn(3, 20, 4, dtype=torch.float64)
    pred = (pred * 2).requires_grad_()
    alpha.requires_grad_()
    loss(reduction='sum')(pred, alpha, target).backward()
    error = (pred - target).detach()
    smooth = torch.where(error.abs() < 1, error**2 / 2, error.abs() - 0.5)
    torch.testing.assert_close(
        pred.grad, (-alpha).exp().detach() * error.clamp(-1, 1)
    )
    torch.testing.assert_close(
        alpha.grad, (0.5 - (-alpha).exp() * smooth).detach()
    )


def test_least_loss_is_at_twice_the_error():
    error = torch.tensor([0.3, 0.9, 4.0], dtype=torch.float64)
    smooth = torch.where(error < 1, error**2 / 2, error - 0.5)
    alpha = (2 * smooth).log().requires_grad_()
    value = loss(reduction='sum')(error, alpha, torch.zeros(3).double())
    value.backward()
    assert alpha.grad.abs().max() < 1e-12
    for step in (-0.1, 0.1):
        other = loss(reduction='sum')(error, alpha + step, 0 * error)
        assert other > value


def test_variance_of_noise_is_learned():
    """Noise of known scale; squared error, as smooth L1 has other tails."""
    torch.manual_seed(0)
    scale = torch.tensor([0.05, 0.2, 0.5])
    target = torch.randn(4000, 3) * scale
    mean = torch.ones(3, requires_grad=True)
    alpha = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([mean, alpha], lr=0.05)
    part = loss(beta=100.0)
    for _ in range(400):
        optimizer.zero_grad()
        # beta 100 divides the squared error by 100
        part(
            10 * mean.expand_as(target), alpha.expand_as(target), 10 * target
        ).backward()
        optimizer.step()
    torch.testing.assert_close(
        (alpha / 2).exp().detach(), scale, rtol=0.05, atol=0.0
    )
    assert mean.abs().max() < 0.05


def test_weight_zero_hides_what_is_infinite():
    pred = torch.tensor([[1.0], [2.0]], requires_grad=True)
    alpha = torch.tensor([[0.0], [-1e6]], requires_grad=True)
    target, weight = torch.zeros(2, 1), torch.tensor([[1.0], [0.0]])
    value = loss()(pred, alpha, target, weight, avg_factor=2)
    value.backward()
    assert value.item() == pytest.approx(0.25)
    assert pred.grad.tolist() == [[0.5], [0]]
    assert alpha.grad.tolist() == [[0.0], [0]]
    none = loss()(pred, alpha, target, 0 * weight, avg_factor=2)
    none.backward()
    assert none == 0


def test_alpha_clip_bounds_the_factor():
    pred, alpha = torch.full((1, 1), 10.0), torch.full((1, 1), -50.0)
    found = loss(alpha_clip=2.0)(pred, alpha, 0 * pred)
    assert found.item() == pytest.approx(math.exp(2) * 9.5 - 1)


def test_loss_is_float32_under_autocast():
    with torch.autocast('cpu', torch.bfloat16):
        half = torch.ones(2, 4, dtype=torch.bfloat16)
        assert loss()(half, half, half).dtype == torch.float32


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(beta=-1.0), 'beta must be at least 0'),
        (dict(alpha_clip=0.0), 'alpha_clip must be None or positive'),
        (dict(reduction='max'), 'reduction must be one of none'),
    ],
)
def test_loss_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        loss(**options)


def test_nothing_is_broadcast():
    box = torch.zeros(4, 4)
    with pytest.raises(ValueError, match=r'alpha.*\(4, 4\), \(4, 1\)'):
        loss()(box, box[:, :1], box)
    with pytest.raises(ValueError, match=r'weight.*\(4, 4\), \(4,\)'):
        loss()(box, box, box, torch.ones(4))
