"""FPT: attention that holds no matrix, against the definition."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from _harness import Case, main
from torch import Tensor

from mmdet_assigners.methods.fpt import functional as fpt
from mmdet_assigners.methods.fpt.local_attention import local_attention

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
PARTS = 2
# Images (height, width), channels C; one image
QUICK = [((256, 320), 32)]
FULL = [((256, 320), 64), ((512, 640), 64)]
if DEVICE == 'cuda':  # its definition needs tens of GiB
    FULL.append(((800, 1344), 256))


def features(channels: int, *positions: int) -> list[Tensor]:
    """(1, C, L) for each number L of positions."""
    return [
        torch.randn(1, channels, n, device=DEVICE, requires_grad=True)
        for n in positions
    ]


def naive_dot(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Its matrix of positions first."""
    return q @ k.transpose(1, 2) / k.shape[1] @ v


def naive_euclidean(q: Tensor, k: Tensor, v: Tensor, pi: Tensor) -> Tensor:
    """Distances, then one softmax per part, then their mixture."""
    square = (
        q.square().sum(-1)[..., None]
        - 2 * q @ k.transpose(2, 3)
        + k.square().sum(-1)[..., None, :]
    )
    weights = (-square).softmax(-1) * pi[..., None, None]
    return weights.sum(1) @ v


def euclidean(q: Tensor, k: Tensor, v: Tensor, pi: Tensor) -> Tensor:
    """As the Grounding Transformer does it."""
    return fpt.mixture_attention(*fpt.euclidean_features(q, k), v, pi)


def gathered(q: Tensor, k: Tensor, v: Tensor, pi: Tensor, size: int) -> Tensor:
    """Local attention with a square of keys per position of the fine map."""
    (height, width), (rows, columns) = q.shape[2:], k.shape[2:]
    y = torch.arange(height, device=DEVICE) * rows // height
    x = torch.arange(width, device=DEVICE) * columns // width
    half = size // 2
    squares = []
    for tensor in (k, v):
        padded = torch.nn.functional.pad(tensor, (half,) * 4)
        windows = padded.unfold(2, size, 1).unfold(3, size, 1)
        squares.append(windows[:, :, y][:, :, :, x].flatten(4))
    keys = squares[0].unflatten(1, (PARTS, -1))
    distance = q.unflatten(1, (PARTS, -1))[..., None] - keys
    weights = (-distance.square().sum(2)).softmax(-1)
    mixture = (weights * pi[..., None, None, None]).sum(1)
    return (squares[1] * mixture[:, None]).sum(-1)


def training(function: Callable[..., Tensor], *args: Any) -> Callable:
    """Forward and backward."""
    return lambda: function(*args).sum().backward()


def inference(function: Callable[..., Tensor], *args: Any) -> Callable:
    """Forward without gradients."""

    def work() -> None:
        with torch.no_grad():
            function(*args)

    return work


def cases(quick: bool) -> Iterator[Case]:
    """The rows of one size, or of all."""
    for (height, width), channels in QUICK if quick else FULL:
        sizes = [(-(-height // s), -(-width // s)) for s in (4, 8)]
        text = f'{height}x{width} C={channels}'
        pi = torch.full((1, PARTS), 1 / PARTS, device=DEVICE)

        p2, p3 = (h * w for h, w in sizes)
        q, k, v = features(channels, p2, p3, p3)
        q, k = (fpt.split_parts(x, PARTS) for x in (q, k))
        # leaves: the backward pass ends here
        args = [x.detach().requires_grad_() for x in (q, k, v.mT)]
        ours, naive = (
            partial(fpt.mixture_attention, method=method)
            for method in ('auto', 'naive')
        )
        for mode in (training, inference):
            yield Case(
                f'ST P2 {mode.__name__} {text}',
                'the mixture of matrices',
                mode(ours, *args, pi),
                mode(naive, *args, pi),
            )
            yield Case(
                f'GT euclidean P2<-P3 {mode.__name__} {text}',
                'the matrices of distances',
                mode(euclidean, *args, pi),
                mode(naive_euclidean, *args, pi),
            )
        q, k, v = features(channels // 2, p2, p3, p3)
        args = [x.transpose(1, 2) for x in (q, k, v)]
        yield Case(
            f'GT dot P2<-P3 training {text}',
            'the matrix of products',
            training(fpt.dot_attention, *args),
            training(naive_dot, *args),
        )
        shapes = [(channels, *sizes[0]), *[(channels, *sizes[1])] * 2]
        args = [
            torch.randn(1, *shape, device=DEVICE, requires_grad=True)
            for shape in shapes
        ]
        yield Case(
            f'LGT P2<-P3 square 5 training {text}',
            'squares gathered on the fine map',
            training(local_attention, *args, pi, 5),
            training(gathered, *args, pi, 5),
        )


if __name__ == '__main__':
    main(cases, __doc__.splitlines()[0])
