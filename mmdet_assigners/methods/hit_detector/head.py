"""The found box head."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor, nn

from .neck import Cells
from .ops import BN, Options, check_ops, make_op

HEAD_GENOTYPE = ('ir_k5_e6', 'ir_k3_e6', 'ir_k5_e6', 'ir_k5_e6')


@MODELS.register_module()
class HitBBoxHead(ConvFCBBoxHead):
    """Candidate operations on the features of a RoI, then one layer.

    Parameters have the official names.

    Paper: Hit-Detector, CVPR 2020, arXiv 2003.11818.

    Args:
        genotype: The operations, see ``make_op``; each keeps the channels.
        num_shared_fcs: Fully connected layers behind them; one in the paper.
        fc_out_channels: Their channels; 512 in the paper.
        norm_cfg: Config of the norms; officially SyncBN.
        **kwargs: Arguments of mmdet's ``ConvFCBBoxHead``.

    Raises:
        ValueError: An unknown operation.
    """

    def __init__(
        self,
        genotype: Sequence[str] = HEAD_GENOTYPE,
        num_shared_fcs: int = 1,
        fc_out_channels: int = 512,
        norm_cfg: Options = BN,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_shared_fcs=num_shared_fcs,
            fc_out_channels=fc_out_channels,
            norm_cfg=norm_cfg,
            **kwargs,
        )
        self.genotype = check_ops(genotype, 'genotype of the head')
        self.SearchHead = Cells(
            [self.make_cell(i) for i in range(len(self.genotype))],
            dict(type='Kaiming', layer='Conv2d'),
        )

    def make_cell(self, index: int) -> nn.Module:
        """Make a layer.

        Args:
            index: Of the layer.
        """
        width = self.in_channels
        return make_op(
            self.genotype[index], width, width, norm_cfg=self.norm_cfg
        )

    def run_cell(self, index: int, x: Tensor) -> Tensor:
        """Compute a layer.

        Args:
            index: Of the layer.
            x: Its input (N, C, 7, 7).
        """
        return self.SearchHead.cells[index](x)

    def blocks(self, x: Tensor) -> Tensor:
        """Compute the operations.

        Args:
            x: Features (N, C, 7, 7) of N RoIs; N may be 0.
        """
        for index in range(len(self.genotype)):
            x = self.run_cell(index, x)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Classify RoIs and regress their boxes.

        Args:
            x: Features (N, C, 7, 7) of N RoIs; N may be 0.

        Returns:
            tuple: Logits (N, classes + 1), and deltas (N, 4 * classes) or,
            class-agnostic, (N, 4).
        """
        return super().forward(self.blocks(x))
