"""Initialization of heads whose points predict rectified distances."""

from collections.abc import Sequence


def distance_init(
    class_convs: Sequence[str], distance_conv: str, bias: float
) -> dict:
    """Weights N(0, 0.01), class prior 0.01 and a bias of the distances.

    The bias is the size of the box that an untrained point predicts: with the
    normalizer 4, the side of a box is ``8 * bias`` strides.

    Args:
        class_convs: Names of the convolutions that give class logits.
        distance_conv: Name of the convolution that gives distances.
        bias: Its bias, in units of the normalized distances.

    Returns:
        dict: An ``init_cfg``.

    Raises:
        ValueError: The bias is not positive: rectified distances would start
            at 0, where they have no gradient.
    """
    if not bias > 0:
        raise ValueError(f'distance_bias must be positive, got {bias}')
    return dict(
        type='Normal',
        layer='Conv2d',
        std=0.01,
        override=[
            *(
                dict(type='Normal', name=name, std=0.01, bias_prob=0.01)
                for name in class_convs
            ),
            dict(type='Normal', name=distance_conv, std=0.01, bias=bias),
        ],
    )
