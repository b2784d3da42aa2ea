"""Color augmentation of CornerNet, CenterNet and ExtremeNet."""

import random

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

# principal components of the colors of ImageNet, BGR, as in the official code
EIGENVALUES = np.array([0.2141788, 0.01817699, 0.00341571])
EIGENVECTORS = np.array(
    [
        [-0.58752847, -0.69563484, 0.41340352],
        [-0.5832747, 0.00994535, -0.81221408],
        [-0.56089297, 0.71832671, 0.41158938],
    ]
)


@TRANSFORMS.register_module()
class PCAColorJitter(BaseTransform):
    """Change brightness, contrast and saturation in random order, then PCA.

    The results are not clipped to 0..255, as in the official code.

    Required keys: ``img``, BGR of 0..255. Modified: ``img``, float32.

    Args:
        brightness: The image is multiplied by ``1 +- brightness`` at most.
        contrast: It moves to or from its mean gray by this share at most.
        saturation: It moves to or from its gray image by this share at most.
        lighting: Standard deviation of the noise along the principal
            components of colors.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        lighting: float = 0.1,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.lighting = lighting

    def transform(self, results: dict) -> dict:
        """Change the colors of an image.

        Args:
            results: Of the pipeline.
        """
        image = results['img'].astype(np.float32)
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
        steps = (
            (self.brightness, 0.0),
            (self.contrast, gray.mean()),
            (self.saturation, gray),
        )
        for most, toward in random.sample(steps, 3):
            factor = 1 + random.uniform(-most, most)
            image = image * factor + toward * (1 - factor)
        noise = [random.gauss(0, self.lighting) for _ in range(3)]
        shift = 255 * EIGENVECTORS @ (EIGENVALUES * noise)
        results['img'] = (image + shift).astype(np.float32)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(brightness={self.brightness}, '
            f'contrast={self.contrast}, saturation={self.saturation}, '
            f'lighting={self.lighting})'
        )
