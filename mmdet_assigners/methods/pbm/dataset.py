"""COCO files with full and visible boxes."""

from collections.abc import Mapping, Sequence

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS


def pair_of(annotation: Mapping) -> tuple[Sequence[float], Sequence[float]]:
    """Full and visible box of a COCO annotation, x, y, width and height.

    ``vis_bbox`` is the visible box beside ``bbox``, the full one (CrowdHuman
    and CityPersons in COCO's format); ``full_bbox`` is the full box beside
    ``bbox``, the visible one (``shapes``). Without either both are ``bbox``.

    Args:
        annotation: Of a COCO file.

    Raises:
        ValueError: One of the two is no box.
    """
    box = annotation['bbox']
    full = annotation.get('full_bbox') or box
    visible = annotation.get('vis_bbox') or box
    for name, value in (('full_bbox', full), ('vis_bbox', visible)):
        if len(value) != 4:
            raise ValueError(
                f'{name} must be x, y, width and height, got {value} in '
                f'annotation {annotation.get("id")}'
            )
    return full, visible


@DATASETS.register_module()
class PairedCocoDataset(CocoDataset):
    """``CocoDataset`` whose boxes are full boxes, with the visible ones.

    For NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Reads any
    COCO file, with the boxes of :func:`pair_of`; instances have the visible
    box as ``vbox`` as those of mmdet's ``CrowdHumanDataset``. Takes the
    arguments of ``CocoDataset``.
    """

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Instances of an image.

        Args:
            raw_data_info: ``raw_img_info`` and ``raw_ann_info`` of the file.
        """
        info = super().parse_data_info(dict(raw_data_info, raw_ann_info=[]))
        for annotation in raw_data_info['raw_ann_info']:
            full, (x, y, width, height) = pair_of(annotation)
            one = dict(
                raw_data_info, raw_ann_info=[dict(annotation, bbox=full)]
            )
            # mmdet leaves some annotations out
            for instance in super().parse_data_info(one)['instances']:
                instance['vbox'] = [x, y, x + width, y + height]
                info['instances'].append(instance)
        return info
