"""Base class of dense heads that know the uncertainty of their boxes."""

from mmdet.structures.bbox import scale_boxes
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from ..layers.box_voting import BoxVoting
from .box_fields import BoxFieldsMixin


class BoxSigmaMixin(BoxFieldsMixin):
    """Before a dense head whose detections carry ``box_sigmas``.

    Candidates get ``box_sigmas`` (N, 4), the standard deviations of x1, y1,
    x2, y2 in pixels of the network's input, and may get
    ``box_sigmas_normalized`` in units of the deltas: from ``decode_level``
    in a head with mmdet's ``predict_by_feat``, or from the head itself before
    :meth:`_bbox_post_process`. Sigmas are rescaled together with the boxes,
    and boxes vote if ``test_cfg.nms=dict(type='var_voting', ...)`` (keys:
    ``models.layers.box_voting.BoxVoting``). With any other NMS the boxes are
    those of the head behind it. A voted box keeps the sigmas of the box that
    was picked.
    """

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        """Rescale and filter candidates, then NMS or voting.

        Args:
            results: Candidates of an image.
            cfg: ``test_cfg``.
            rescale: Give boxes in the original image.
            with_nms: False: leave out NMS and voting.
            img_meta: Meta information of the image.

        Returns:
            InstanceData: Detections.

        Raises:
            ValueError: Boxes should vote, but have no sigmas.
        """
        if rescale and img_meta and 'box_sigmas' in results:
            scale = [1 / side for side in img_meta['scale_factor']]
            results.box_sigmas = scale_boxes(results.box_sigmas, scale)
        voting = BoxVoting.of(cfg.get('nms')) if with_nms else None
        results = super()._bbox_post_process(
            results, cfg, rescale, with_nms and voting is None, img_meta
        )
        if voting is not None:
            results = voting(results, cfg.max_per_img, self)
        results.pop('box_sigmas_normalized', None)
        return results
