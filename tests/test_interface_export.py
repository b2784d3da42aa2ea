"""Every dense head of ours, compiled and exported."""

import numpy as np
import pytest
import torch
from interface_cases import DENSE_HEADS, case
from test_interface_models import tensors
from torch import nn

from mmdet_assigners.ops.border_align import border_align
from mmdet_assigners.ops.border_align._grid import border_align_grid

for_each_head = pytest.mark.parametrize('name', DENSE_HEADS)


class Flat(nn.Module):
    """A head on a list of maps, with its outputs in one list."""

    def __init__(self, head, pairs):
        super().__init__()
        self.head = head
        self.pairs = pairs

    def forward(self, maps):
        if self.pairs:
            maps = list(zip(maps[::2], maps[1::2], strict=True))
        return tensors(self.head(maps))


def shallow(node):
    """The graph has each layer once per level."""
    if node.get('stacked_convs', 0) > 1:
        node.stacked_convs = 1
    if node.type.startswith('Border'):
        node.pool_size = 2
    if node.type == 'AlignDetHead':
        node.align_head.kernel_size = 3


def module_of(name):
    """A head in evaluation mode, small maps and the expected outputs."""
    data = case(name)
    pairs = isinstance(data.feats[0], tuple)
    maps = []
    for level in data.feats:
        for x in level if pairs else [level]:
            maps.append(x[:1, :, : x.shape[2] // 2 + 1, : x.shape[3] // 2 + 1])
    module = Flat(data.build(shallow, load=False), pairs).eval()
    with torch.no_grad():
        return module, maps, module(maps)


def assert_close(found, expected, tolerance=1e-5):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        error = (one - other).abs().max()
        assert error <= tolerance * other.abs().max().clamp(min=1)


@for_each_head
def test_compile(name):
    """In one graph, without breaks."""
    module, maps, expected = module_of(name)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend='eager', fullgraph=True)
    with torch.no_grad():
        assert_close(compiled(maps), expected)


@for_each_head
def test_export(name):
    module, maps, expected = module_of(name)
    with torch.no_grad():
        program = torch.export.export(module, (maps,))
        assert_close(program.module()(maps), expected)


# mmdet's corner pooling is a cummax, which torch.onnx does not know
NO_ONNX = {'CornerPairHead'}


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted({*DENSE_HEADS} - NO_ONNX))
def test_onnx(name, tmp_path):
    pytest.importorskip('onnxscript', reason='torch.onnx needs onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    module, maps, expected = module_of(name)
    path = str(tmp_path / 'head.onnx')
    torch.onnx.export(module, (maps,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path)
    names = [node.name for node in session.get_inputs()]
    inputs = dict(zip(names, [x.numpy() for x in maps], strict=True))
    found = [torch.from_numpy(x) for x in session.run(None, inputs)]
    assert_close(found, expected, 1e-4)


@pytest.mark.parametrize('size', [(7, 9), (1, 1), (5, 1)])
def test_border_align_in_onnx(size, monkeypatch):
    """The composition that ONNX gets is the definition."""
    generator = torch.Generator().manual_seed(0)
    options = dict(generator=generator, dtype=torch.float64)
    x = torch.randn(2, 12, *size, **options)
    boxes = torch.randn(2, 40, 4, **options) * 6 + 3
    height, width = size
    boxes[0, :4] = torch.tensor(
        [
            [-1, -1, width, height],
            [0, 0, width - 1, height - 1],
            [np.nan, 1, 2, 3],
            [0, 0, np.inf, 2],
        ]
    )
    expected = border_align(x, boxes, implementation='reference')
    composed, _ = border_align_grid(x, boxes, 10)
    torch.testing.assert_close(composed, expected, rtol=0, atol=1e-12)
    monkeypatch.setattr(torch.onnx, 'is_in_onnx_export', lambda: True)
    assert torch.equal(border_align(x, boxes), composed)
