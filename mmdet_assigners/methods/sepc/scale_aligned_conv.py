"""The kernel of SEPC: one weight, deformable on all output levels but 0."""

from torch import Tensor, nn

from ...ops.deform_conv import deform_conv

_KERNEL = 3


class ScaleAlignedConv(nn.Conv2d):
    """A 3x3 convolution shared by the levels of a pyramid, realigned above 0.

    A kernel that walks over the levels of a backbone's pyramid meets features
    that are more than rescaled copies of each other. SEPC therefore makes it
    deformable (v1, no mask, one group) for output levels >= 1, with offsets
    predicted from the deformable conv's own input; output level 0 keeps the
    plain convolution with the *same* weight and bias.

    Paper: Scale-Equalizing Pyramid Convolution for Object Detection, CVPR
    2020, arXiv 2005.03101, section 3.3.

    Differences from the official code: none in the result; under autocast
    samples are taken in float32.

    Weights start at N(0, 0.01), biases and the offset predictor at 0, so
    that training starts from the plain convolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride in cells; 1 or 2.
        padding: Zero padding in cells; 1 keeps the size.
        deform: Deformable on output levels >= 1; without it this is a plain
            convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        padding: int = 1,
        deform: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, _KERNEL, stride, padding, bias=True
        )
        self.conv_offset: nn.Conv2d | None = None
        if deform:
            self.conv_offset = nn.Conv2d(
                in_channels, 2 * _KERNEL**2, _KERNEL, stride, padding
            )
            nn.init.zeros_(self.conv_offset.weight)
            nn.init.zeros_(self.conv_offset.bias)

    def reset_parameters(self) -> None:
        """Initialize as the paper's code: N(0, 0.01) and zero bias."""
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    def forward(self, level: int, x: Tensor) -> Tensor:
        """Apply the kernel for one output level.

        Args:
            level: Index of the *output* level, 0 is the finest.
            x: Input, shape [B, C, H, W].

        Returns:
            Shape [B, C_out, H', W'].

        Raises:
            ValueError: The padded input is smaller than the kernel.
        """
        height, width = x.shape[-2:]
        if min(height, width) + 2 * self.padding[0] < _KERNEL:
            raise ValueError(
                f'x of level {level} is {height}x{width}; with padding '
                f'{self.padding[0]} it must be at least '
                f'{_KERNEL - 2 * self.padding[0]} cells in both directions '
                '(larger images, or head_padding=1)'
            )
        if level == 0 or self.conv_offset is None:
            return super().forward(x)
        offset = self.conv_offset(x)
        out = deform_conv(
            x, offset, self.weight, self.stride[0], self.padding[0]
        )
        return (out + self.bias.view(-1, 1, 1)).to(offset.dtype)
