"""AP-loss, value and gradient, against its definition (a loop); one thread."""

from collections.abc import Callable, Iterator

import torch
from _harness import Case, main
from torch import Tensor

from mmdet_assigners.methods.ap_loss.functional import ap_loss

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# positives and negatives
SIZES = ((300, 100_000), (3_000, 200_000), (10_000, 1_000_000))


def loop(logits: Tensor, targets: Tensor, delta: float = 1.0) -> Tensor:
    """The definition, one positive after the other, in float32.

    Args:
        logits: (n,) scores.
        targets: (n,) 1 positive, 0 negative.
        delta: Half the width of the step.

    Returns:
        Tensor: Scalar loss and (n,) gradient.
    """
    positive = (targets == 1).nonzero().squeeze(1)
    lowest = logits[positive].min()
    reaches = (targets == 0) & (logits >= lowest - delta)
    negative = reaches.nonzero().squeeze(1)
    positive = positive[logits[positive].argsort()]
    pos, neg = logits[positive], logits[negative]
    best, total = logits.new_zeros(()), logits.new_zeros(())
    pushed, pulled = torch.zeros_like(neg), torch.zeros_like(pos)
    for i in range(len(pos)):
        rank = ((pos - pos[i]) / (2 * delta) + 0.5).clamp_(0, 1).sum() + 0.5
        above = ((neg - pos[i]) / (2 * delta) + 0.5).clamp_(0, 1)
        size = rank + above.sum()
        precision = rank / size
        best = torch.maximum(best, precision)
        share = (1 - best) / (1 - precision)
        pushed += above * (share.where(precision < best, 1) / size)
        pulled[i] = best - 1
        total += 1 - best
    gradient = torch.zeros_like(logits)
    gradient[negative], gradient[positive] = pushed, pulled
    return total / len(pos), gradient / len(pos)


def scores(positives: int, negatives: int) -> tuple[Tensor, Tensor]:
    """Logits (n,) in the middle of a training and their targets (n,)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(positives + negatives, generator=generator) - 3
    logits[:positives] += 2
    targets = torch.zeros(len(logits), dtype=torch.int8)
    targets[:positives] = 1
    order = torch.randperm(len(logits), generator=generator)
    return logits[order].to(DEVICE), targets[order].to(DEVICE)


def ours(logits: Tensor, targets: Tensor) -> Callable[[], None]:
    """Forward and backward of the autograd function."""
    logits = logits.clone().requires_grad_()

    def work() -> None:
        logits.grad = None
        ap_loss(logits, targets).backward()

    return work


def cases(quick: bool) -> Iterator[Case]:
    """A row per size; quick: without the largest."""
    torch.set_num_threads(1)  # more only slow the loop's many small steps
    for positives, negatives in SIZES[:2] if quick else SIZES:
        data = scores(positives, negatives)
        yield Case(
            f'forward+backward P={positives} N={negatives}',
            'loop over the positives, float32',
            ours(*data),
            lambda data=data: loop(*data),
        )


if __name__ == '__main__':
    main(cases, __doc__)
