"""Widths of the published networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage; the attributes are arguments of ``CSPStage``."""

    in_channels: int
    out_channels: int
    hidden_channels: int
    mid_channels: int
    num_blocks: int
    block: str
    down_channels: int | None = None
    main_channels: int | None = None
    groups: int = 1
    split_act: bool = True

    def scaled(self, width: float, groups: int) -> 'Stage':
        """The stage of another width.

        Args:
            width: Factor of all channels, which are rounded.
            groups: Groups of the 3x3 convolutions.
        """
        widths = {
            name: scale(value, width)
            for name, value in vars(self).items()
            if name.endswith('_channels') and value
        }
        return Stage(**(vars(self) | widths | dict(groups=groups)))


@dataclass(frozen=True)
class Architecture:
    """A network.

    Attributes:
        stem_channels: Channels of the stem.
        stages: In order.
        resnet_stem: A 7x7 of stride 2 and a max-pooling; otherwise a 3x3.
        pool: Kernel size of the max-pooling.
        slope: Negative slope of the activations.
    """

    stem_channels: int
    stages: tuple[Stage, ...]
    resnet_stem: bool = True
    pool: int = 2
    slope: float = 0.1

    @property
    def layers(self) -> list[tuple[int, int]]:
        """First and last index of each part in Darknet's layer list.

        The stem first. Routes and shortcuts have indices too.
        """
        found = [(0, 1 if self.resnet_stem else 0)]
        for stage in self.stages:
            first = found[-1][1] + 1
            block = 4 if stage.block == 'resnet' else 3
            # bypass, route, main; post, route, transition
            others = 6 + (stage.down_channels is not None)
            last = first + others + block * stage.num_blocks - 1
            found.append((first, last))
        return found


def scale(channels: int, width: float) -> int:
    """A number of channels times a factor, at least 1."""
    return max(1, round(channels * width))


def _darknet(slope: float) -> Architecture:
    blocks = (1, 2, 8, 8, 4)
    stages = [Stage(32, 64, 64, 32, 1, 'darknet', 64)]
    for i, count in enumerate(blocks[1:]):
        width = 128 * 2**i
        half = width // 2
        stages.append(Stage(half, width, half, half, count, 'darknet', width))
    return Architecture(32, tuple(stages), resnet_stem=False, slope=slope)


def _resnet(mmpretrain: bool) -> Architecture:
    stages = []
    for i, count in enumerate((3, 3, 5, 2)):
        inputs = 64 * 2**i
        hidden = 128 * 2**i
        stages.append(
            Stage(
                inputs,
                hidden,
                hidden,
                inputs,
                count,
                'resnet',
                down_channels=inputs if i else None,
                main_channels=None if i or mmpretrain else 64,
                split_act=i in (0, 3) and not mmpretrain,
            )
        )
    return _with_stem(stages, mmpretrain)


def _resnext(mmpretrain: bool) -> Architecture:
    stages = []
    for i, count in enumerate((3, 3, 5, 2)):
        inputs = 128 * 2**i if i else 64
        hidden = 128 * 2**i
        stages.append(
            Stage(
                inputs,
                2 * hidden,
                hidden,
                hidden,
                count,
                'resnet',
                down_channels=inputs if i else None,
                main_channels=None if i or mmpretrain else 64,
                groups=32,
                split_act=i in (0, 3) and not mmpretrain,
            )
        )
    return _with_stem(stages, mmpretrain)


def _with_stem(stages: list[Stage], mmpretrain: bool) -> Architecture:
    if mmpretrain:
        return Architecture(64, tuple(stages), pool=3, slope=0.01)
    return Architecture(64, tuple(stages))


# by name and variant
ARCHITECTURES = {
    'CSPDarknet53': dict(official=_darknet(0.1), mmpretrain=_darknet(0.01)),
    'CSPResNet50': dict(official=_resnet(False), mmpretrain=_resnet(True)),
    'CSPResNeXt50': dict(official=_resnext(False), mmpretrain=_resnext(True)),
}
