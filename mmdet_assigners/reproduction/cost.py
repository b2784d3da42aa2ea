"""What one image costs a detector: operations, time and memory."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config

_REPEATS = 5
_MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass without post-processing.

    Attributes:
        parameters: Number of parameters.
        flops: Multiply-adds, see `mmdet_assigners.analysis.complexity`.
        seconds: Median of five passes, after one that is not timed.
        memory_mib: Peak memory, MiB: allocated on the GPU, or resident of the
            process on a CPU; None: this system does not say.
        shape: Height and width of the image in pixels.
        device: 'cpu', or the name of the GPU.
    """

    parameters: int
    flops: int
    seconds: float
    memory_mib: float | None
    shape: tuple[int, int]
    device: str


def measure(
    cfg: 'Config', shape: tuple[int, int], device: str = 'cpu'
) -> Cost:
    """Count and time the detector of a config, with random weights.

    Args:
        cfg: The config.
        shape: Height and width of the image in pixels.
        device: Where it is timed; operations are counted on the CPU.

    Raises:
        ValueError: The detector can't process an image of this shape.
    """
    import torch

    from ..analysis.complexity import count, fixed_input
    from ..analysis.detectors import build_model

    model = build_model(cfg)
    counted = count(model, shape)
    on_gpu = torch.device(device).type == 'cuda'
    model.to(device)
    times = []
    with fixed_input(model, shape) as image, torch.no_grad():
        _reset_peak(on_gpu)
        for _ in range(1 + _REPEATS):
            start = time.perf_counter()
            model(image)
            if on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        memory = _peak(on_gpu)
    return Cost(
        counted.parameters,
        counted.flops,
        median(times[1:]),
        memory,
        shape,
        torch.cuda.get_device_name(device) if on_gpu else 'cpu',
    )


def _reset_peak(on_gpu: bool) -> None:
    if on_gpu:
        import torch

        torch.cuda.reset_peak_memory_stats()
        return
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:  # not Linux, or not allowed
        pass


def _peak(on_gpu: bool) -> float | None:
    """Peak memory since :func:`_reset_peak`, MiB."""
    if on_gpu:
        import torch

        return torch.cuda.max_memory_allocated() / _MIB
    status = Path('/proc/self/status')
    if not status.is_file():
        return None
    match = re.search(r'^VmHWM:\s+(\d+) kB', status.read_text(), re.MULTILINE)
    return int(match[1]) / 1024 if match else None
