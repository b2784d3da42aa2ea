import pytest
import torch
from torch import nn

from mmdet_assigners.methods.fpt.grounding_transformer import (
    GroundingTransformer,
    LocalGroundingTransformer,
    PublishedGroundingTransformer,
)
from mmdet_assigners.methods.fpt.rendering_transformer import (
    PublishedRenderingTransformer,
    RenderingTransformer,
)
from mmdet_assigners.methods.fpt.self_transformer import SelfTransformer


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def identity(*convs):
    """1x1 convolutions that hand their input on."""
    for conv in convs:
        nn.init.zeros_(conv.weight)
        conv.weight.data[..., 0, 0] = torch.eye(*conv.weight.shape[:2])
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def test_self_transformer_by_hand():
    """One channel, pooled to one key: attention gives its value everywhere."""
    st = SelfTransformer(1, n_mix=1).eval()
    identity(st.query_key, st.value, st.out)
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    # the padding isn't counted: mean 3 of four; fresh batch norm
    expected = x + 3 / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(st(x), expected)


@pytest.mark.parametrize('kv_pool', [1, 2, 3, 4])
@pytest.mark.parametrize('size', [(5, 7), (6, 8), (1, 1)])
def test_self_transformer_keeps_any_size(size, kv_pool):
    st = SelfTransformer(8, kv_pool=kv_pool).eval()
    x = torch.randn(2, 8, *size)
    assert st(x).shape == x.shape
    assert st.pool(x).shape[2:] == tuple(-(-n // kv_pool) for n in size)


def test_a_image_has_its_own_part_weights():
    st = SelfTransformer(8, 4).eval()
    x = torch.randn(2, 8, 6, 8)
    single = torch.cat([st(x[:1]), st(x[1:])])
    torch.testing.assert_close(st(x), single)


def test_dropout_is_for_training():
    st = SelfTransformer(8, dropout=0.5)
    st.norm.eval()
    x = torch.randn(1, 8, 6, 8)
    assert not torch.equal(st(x), st(x))
    st.eval()
    assert torch.equal(st(x), st(x))


def test_grounding_with_equal_keys_gives_the_mean():
    gt = GroundingTransformer(8, 4).eval()
    nn.init.zeros_(gt.key.weight)
    fine, coarse = torch.randn(2, 8, 6, 7), torch.randn(2, 8, 3, 4)
    mean = gt.value(coarse).mean((2, 3), keepdim=True)
    torch.testing.assert_close(gt(fine, coarse), mean.expand_as(fine))


def test_grounding_finds_the_nearest_key():
    """A sharp softmax copies the value of the closest coarse position."""
    gt = GroundingTransformer(1, 1, similarity_scale=100.0).eval()
    identity(gt.query, gt.key, gt.value)
    coarse = torch.tensor([[[[0.0, 5.0]]]])
    fine = torch.tensor([[[[1.0, 4.0], [-7.0, 2.4]]]])
    expected = torch.tensor([[[[0.0, 5.0], [0.0, 0.0]]]])
    torch.testing.assert_close(gt(fine, coarse), expected)
    # the dot product would send all positive queries to 5


def test_one_part_trains_no_vector():
    gt = GroundingTransformer(4, 1)
    gt(torch.randn(1, 4, 4, 4), torch.randn(1, 4, 2, 2)).sum().backward()
    assert {n for n, p in gt.named_parameters() if p.grad is None} == {
        'part_weight'
    }
    assert not gt.part_weight.requires_grad


def test_local_grounding_looks_at_its_square_alone():
    gt = LocalGroundingTransformer(4, square_size=3).eval()
    fine = torch.randn(1, 4, 12, 12)
    coarse = torch.randn(1, 4, 6, 6, requires_grad=True)
    gt.part_weight.data.zero_()  # the weights see every key
    gt(fine, coarse)[:, :, 4, 11].sum().backward()
    seen = coarse.grad.abs().sum((0, 1)) > 0
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[1:4, 4:6] = True
    assert torch.equal(seen, expected)


def test_published_grounding_starts_at_zero():
    for norm_cfg in (dict(type='BN'), None):
        gt = PublishedGroundingTransformer(8, norm_cfg=norm_cfg)
        out = gt(torch.randn(2, 8, 6, 8), torch.randn(2, 8, 3, 4))
        assert out.count_nonzero() == 0 and out.requires_grad


def test_rendering_by_hand():
    """Query times the mean of the fine map, plus its every second pixel."""
    rt = RenderingTransformer(1)
    for conv, factor in ((rt.query_conv, 1.0), (rt.value_conv, 10.0)):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
        conv.weight.data[0, 0, 1, 1] = factor
    coarse = torch.tensor([[[[2.0, 3.0]]]])
    fine = torch.tensor([[[[1.0, 0.0, 2.0, 1.0], [0.0, 4.0, 0.0, 0.0]]]])
    # mean 1, pixels 1 and 2
    expected = torch.tensor([[[[12.0, 23.0]]]])
    torch.testing.assert_close(rt(coarse, fine), expected)


def test_rendering_resizes_what_does_not_halve():
    for rt in (RenderingTransformer(4), PublishedRenderingTransformer(4)):
        out = rt.eval()(torch.randn(1, 4, 3, 3), torch.randn(1, 4, 9, 9))
        assert out.shape == (1, 4, 3, 3)


def test_gate_of_a_single_image():
    pair = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 6, 6)
    assert PublishedRenderingTransformer(4)(*pair).isfinite().all()
    for norm in ('BN', 'SyncBN'):
        rt = PublishedRenderingTransformer(4, gate_norm_cfg=dict(type=norm))
        with pytest.raises(ValueError, match='gate_norm_cfg must not be'):
            rt(*pair)
        assert rt.eval()(*pair).isfinite().all()
        frozen = rt.train()
        frozen.gate_norm.eval()
        assert frozen(*pair).isfinite().all()


@pytest.mark.parametrize(
    'make, message',
    [
        (
            lambda: SelfTransformer(8, 3),
            'n_mix must divide the 8 key channels',
        ),
        (lambda: SelfTransformer(8, kv_pool=0), 'kv_pool must be at least 1'),
        (lambda: SelfTransformer(8, transform='mlp'), "got 'mlp'"),
        (lambda: GroundingTransformer(8, 3), 'num_parts must divide the 8'),
        (lambda: LocalGroundingTransformer(8, 4), 'square_size must be odd'),
        (lambda: PublishedGroundingTransformer(8, mode='x'), "got 'x'"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
