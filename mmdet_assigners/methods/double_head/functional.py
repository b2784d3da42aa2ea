"""Tensor functions of Double-Head-Ext, arXiv 1904.06493."""

from torch import Tensor


def grouped_nonlocal(
    theta: Tensor, phi: Tensor, g: Tensor, groups: int, softmax: bool = False
) -> Tensor:
    """Each position as a sum over all positions, by groups of channels.

    Args:
        theta: (N, C, H, W) queries.
        phi: (N, C, H, W) keys.
        g: (N, C, H, W) values.
        groups: Number of groups of neighboring channels; C is a multiple.
        softmax: Weigh by the softmax of the products instead of the products
            divided by H * W.

    Returns:
        Tensor: (N, C, H, W).
    """
    queries, keys, values = (
        x.unflatten(1, (groups, -1)).flatten(3) for x in (theta, phi, g)
    )
    weights = queries.transpose(2, 3) @ keys
    if softmax:
        weights = weights.softmax(3)
    else:
        weights = weights / weights.shape[3]
    return (values @ weights.transpose(2, 3)).reshape(g.shape)


def fuse_scores(first: Tensor, second: Tensor) -> Tensor:
    """Probability that at least one of two classifiers is right.

    Args:
        first: (N, C + 1) logits of one classifier.
        second: (N, C + 1) logits of the other.

    Returns:
        Tensor: (N, C + 1) scores, whose rows do not sum to 1.
    """
    miss = (1 - first.softmax(1)) * (1 - second.softmax(1))
    return 1 - miss


def task_weights(
    lambda_fc: float, lambda_conv: float, omega_fc: float, omega_conv: float
) -> dict[str, float]:
    """Weights of the four losses.

    Args:
        lambda_fc: Share of the classification in the loss of the fc head.
        lambda_conv: Share of the boxes in the loss of the convolutional head.
        omega_fc: Weight of the fc head.
        omega_conv: Weight of the convolutional head.

    Returns:
        dict: Name of the loss -> weight.
    """
    return dict(
        loss_cls_fc=omega_fc * lambda_fc,
        loss_bbox_fc=omega_fc * (1 - lambda_fc),
        loss_cls_conv=omega_conv * (1 - lambda_conv),
        loss_bbox_conv=omega_conv * lambda_conv,
    )
