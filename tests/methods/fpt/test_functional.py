import math

import pytest
import torch
from torch import Tensor, nn

from mmdet_assigners.methods.fpt import functional as fpt
from mmdet_assigners.methods.fpt.local_attention import local_attention


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def inputs(parts=2, queries=37, keys=11, channels=4, values=6, batch=2):
    """Random queries, keys, values and priors that want gradients."""
    shapes = [
        (batch, parts, queries, channels),
        (batch, parts, keys, channels),
        (batch, keys, values),
    ]
    tensors = [torch.randn(shape, requires_grad=True) for shape in shapes]
    priors = torch.randn(batch, parts).softmax(-1).requires_grad_()
    return [*tensors, priors]


def gradients(out, tensors):
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    return torch.autograd.grad((out * weights).sum(), tensors)


def by_loops(q, k, v, pi, scale):
    """The definition, position by position."""
    out = torch.zeros(len(q), q.shape[2], v.shape[2])
    for b in range(len(q)):
        for i in range(q.shape[2]):
            mixture = sum(
                pi[b, n] * (scale * k[b, n] @ q[b, n, i]).softmax(0)
                for n in range(q.shape[1])
            )
            out[b, i] = mixture @ v[b]
    return out


def test_naive_is_the_definition():
    q, k, v, pi = inputs()
    out = fpt.mixture_attention(q, k, v, pi, 0.7, method='naive')
    torch.testing.assert_close(out, by_loops(q, k, v, pi, 0.7))


@pytest.mark.parametrize('method', ['chunked', 'fused', 'auto'])
@pytest.mark.parametrize('parts', [1, 2, 4])
def test_efficient_equals_naive(method, parts, monkeypatch):
    """Forward and gradients; 8 queries per chunk, the last has fewer."""
    monkeypatch.setattr(fpt, 'MAX_SCORES', 8 * 2 * parts * 11)
    tensors = inputs(parts)
    expected = fpt.mixture_attention(*tensors, 0.5, method='naive')
    out = fpt.mixture_attention(*tensors, 0.5, method=method)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(
        gradients(out, tensors), gradients(expected, tensors), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Elements of the largest tensor that an operator makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize('method', ['chunked', 'naive'])
def test_chunks_bound_the_memory(method, monkeypatch):
    monkeypatch.setattr(fpt, 'MAX_SCORES', 4096)
    tensors = inputs(queries=600, keys=150)
    with Largest() as largest:
        out = fpt.mixture_attention(*tensors, method=method)
        gradients(out, tensors)
    # the queries have 9 600 elements, the two attention matrices 360 000
    assert (largest.elements < 10_000) == (method == 'chunked')


def test_dropout_drops_the_parts_apart():
    """Of two parts with the same scores each is dropped on its own."""
    q, k, v, _ = inputs(parts=1, queries=400, keys=1, values=1, batch=1)
    q, k = (x.expand(-1, 2, -1, -1) for x in (q, k))
    pi = torch.tensor([[0.25, 0.75]])
    out = fpt.mixture_attention(q, k, v.detach() * 0 + 1, pi, dropout=0.5)
    values = out.flatten().detach()
    assert set(values.tolist()) == {0.0, 0.5, 1.5, 2.0}
    assert 0.8 < values.mean() < 1.2


def test_scores_of_euclidean_features():
    """Differences between keys are those of -|q - k|^2; |q|^2 drops out."""
    q, k, *_ = inputs()
    scores = -(q[..., :, None, :] - k[..., None, :, :]).square().sum(-1)
    features, weights = fpt.euclidean_features(q, k)
    assert features.shape[-1] == weights.shape[-1] == 8
    ours = features @ weights.transpose(2, 3)
    torch.testing.assert_close(
        ours - ours[..., :1], scores - scores[..., :1], rtol=1e-4, atol=1e-4
    )
    for found, expected in zip(
        *(
            torch.autograd.grad(x.softmax(-1)[..., 0].sum(), (q, k))
            for x in (ours, scores)
        ),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_euclidean_features_in_half_precision(dtype):
    """Far from the origin the rounding of |k|^2 would swallow everything.

    With products summed in float32, as kernels do, what is left is the
    rounding of queries and keys themselves.
    """
    q, k, *_ = ((x + 9).to(dtype) for x in inputs(channels=32))
    features, weights = (x.float() for x in fpt.euclidean_features(q, k))
    found = features @ weights.transpose(2, 3)
    expected = -torch.cdist(q.float(), k.float()).square()
    error = (found - found[..., :1]) - (expected - expected[..., :1])
    rounding = k.square().sum(-1).float() - k.float().square().sum(-1)
    assert error.abs().max() < rounding.abs().max() / 3


def test_half_precision_gradient_counts_the_norm_once():
    """The three channels of |k|^2 give its gradient together."""
    q, k, *_ = inputs(queries=3, keys=5, channels=8)
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        features, weights = fpt.euclidean_features(q.to(dtype), k.to(dtype))
        scores = features.float() @ weights.float().transpose(2, 3)
        loss = scores.softmax(-1)[..., 0].sum()
        grads.append(torch.autograd.grad(loss, k)[0])
    torch.testing.assert_close(*grads, rtol=0.1, atol=0.05)


def test_equal_keys_give_the_mean_of_the_values():
    q, k, v, pi = inputs()
    k = k[:, :, :1].expand_as(k)
    out = fpt.mixture_attention(*fpt.euclidean_features(q, k), v, pi)
    torch.testing.assert_close(out, v.mean(1, keepdim=True).expand_as(out))


def test_dot_attention_is_linear_attention():
    q, k, v, _ = inputs(parts=1)
    q, k = q[:, 0], k[:, 0]
    expected = q @ k.transpose(1, 2) / 11 @ v
    torch.testing.assert_close(fpt.dot_attention(q, k, v), expected)


def test_part_weights_by_hand():
    """Mean feature (2, 0): logits 2 log 2 and 0, weights 4/5 and 1/5."""
    features = torch.tensor([[[1.0, 3.0], [-1.0, 1.0]]])
    weight = torch.tensor([[math.log(2), 5.0], [0.0, 7.0]])
    torch.testing.assert_close(
        fpt.part_weights(weight, features), torch.tensor([[0.8, 0.2]])
    )


def test_split_parts_takes_neighboring_channels():
    x = torch.arange(8.0).view(1, 4, 2, 1)
    parts = fpt.split_parts(x, 2)
    assert parts.tolist() == [
        [[[0.0, 2.0], [1.0, 3.0]], [[4.0, 6.0], [5.0, 7.0]]]
    ]
    with pytest.raises(ValueError, match='num_parts must divide the 4 ch'):
        fpt.split_parts(x, 3)


def test_refuses():
    q, k, v, pi = inputs()
    with pytest.raises(ValueError, match=r"method must be one of .*'flash'"):
        fpt.mixture_attention(q, k, v, pi, method='flash')
    with pytest.raises(ValueError, match='priors must be given with 2 parts'):
        fpt.mixture_attention(q, k, v)
    with pytest.raises(ValueError, match=r'square_size must be odd.* got 4'):
        local_attention(q, q, q, pi, 4)


def maps(fine=(7, 9), coarse=(4, 5), channels=4, values=3):
    return [
        torch.randn(2, *shape, requires_grad=True)
        for shape in (
            (channels, *fine),
            (channels, *coarse),
            (values, *coarse),
        )
    ]


def local_by_loops(q, k, v, pi, size, scale):
    (h, w), (rows, columns) = q.shape[2:], k.shape[2:]
    parts, out = pi.shape[1], torch.zeros(len(q), v.shape[1], h, w)
    pad = nn.ZeroPad2d(size // 2)
    k, v = pad(k), pad(v)
    for i in range(h):
        for j in range(w):
            y, x = i * rows // h, j * columns // w
            square = slice(y, y + size), slice(x, x + size)
            keys = k[(..., *square)].flatten(2)
            values = v[(..., *square)].flatten(2)
            for b in range(len(q)):
                weights = 0
                for n, (one, others) in enumerate(
                    zip(
                        q[b, :, i, j].chunk(parts),
                        keys[b].chunk(parts),
                        strict=True,
                    )
                ):
                    distance = (one[:, None] - others).square().sum(0)
                    weights += pi[b, n] * (-scale * distance).softmax(0)
                out[b, :, i, j] = values[b] @ weights
    return out


@pytest.mark.parametrize(
    'fine, coarse',
    [((7, 9), (4, 5)), ((8, 12), (2, 3)), ((3, 4), (3, 4)), ((2, 3), (4, 5))],
)
@pytest.mark.parametrize('size', [1, 3, 5])
def test_local_attention(fine, coarse, size, monkeypatch):
    """Odd sizes, any ratio; one row of the coarse map at a time."""
    monkeypatch.setattr(fpt, 'MAX_WINDOWS', 1)
    tensors = maps(fine, coarse)
    pi = torch.randn(2, 2).softmax(-1)
    out = local_attention(*tensors, pi, size, 0.5)
    expected = local_by_loops(*tensors, pi, size, 0.5)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(
        gradients(out, tensors), gradients(expected, tensors), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_square_over_the_whole_map_is_global_attention():
    """One coarse cell: the square has no cell outside, nor any choice."""
    q, k, v = maps((5, 6), (1, 1))
    pi = torch.randn(2, 2).softmax(-1)
    out = local_attention(q, k, v, pi, 1)
    parts = [fpt.split_parts(x, 2) for x in (q, k)]
    values = v.flatten(2).transpose(1, 2)
    expected = fpt.mixture_attention(
        *fpt.euclidean_features(*parts), values, pi
    )
    torch.testing.assert_close(out.flatten(2).transpose(1, 2), expected)
