"""BorderDet as region proposal network."""

from typing import Any

from mmdet.registry import MODELS

from .head import BorderDetHead


@MODELS.register_module()
class BorderRPNHead(BorderDetHead):
    """BorderDet as region proposal network: objects against background.

    One box per location, refined once, with the product of scores of both
    stages. The paper reports such a network, its code doesn't have it: this
    is :class:`BorderDetHead` with one class (the design is ours).

    Paper: as of :class:`BorderDetHead`.

    Args:
        in_channels: Channels of the feature maps.
        num_classes: 1.
        **kwargs: Of :class:`BorderDetHead`.

    Raises:
        ValueError: There is more than one class.
    """

    def __init__(
        self, in_channels: int, num_classes: int = 1, **kwargs: Any
    ) -> None:
        if num_classes != 1:
            raise ValueError(
                'num_classes of a proposal network must be 1, got '
                f'{num_classes}'
            )
        super().__init__(num_classes, in_channels, **kwargs)
