"""BorderAlign on a GPU: Triton's kernels against the CPU and mmcv's op."""

import pytest
import torch
from test_ops.border_align_cases import CASES, check_case, make_case

from mmdet_assigners.ops.border_align import border_align

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason='needs a CUDA device'
    ),
]


def large_case(dtype=torch.float32):
    """Input (2, 4 * 64, 40, 56) and a clamped box per cell, on the GPU."""
    torch.manual_seed(0)
    height, width = 40, 56
    input = torch.randn(2, 256, height, width, device='cuda').to(dtype)
    side = input.new_tensor([width, height] * 2).float()
    boxes = torch.rand(2, height * width, 4, device='cuda') * (side - 1)
    return input.requires_grad_(), boxes


@pytest.mark.parametrize('implementation', ['triton', 'torch', 'reference'])
@pytest.mark.parametrize('name', CASES)
def test_equals_brute_force(name, implementation):
    check_case(name, implementation, torch.device('cuda'))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_equals_cpu(dtype):
    input, boxes = large_case(dtype)
    grad = torch.randn(2, 64, 40 * 56, 4, device='cuda').to(dtype)
    results = []
    for device in ('cuda', 'cpu'):
        leaf = input.detach().to(device).requires_grad_()
        output = border_align(leaf, boxes.to(device))
        (found,) = torch.autograd.grad(output, leaf, grad.to(device))
        results.append((output.cpu(), found.cpu()))
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    (output, found), (expected, wanted) = results
    # a GPU fuses multiplications and additions: coordinates of up to 56 differ
    # by their last bit, 4e-6 cells, times up to 9 between neighboring cells
    torch.testing.assert_close(output, expected, rtol=tolerance, atol=5e-5)
    # so do the shares; near ties may take another sample
    tolerance = max(tolerance, 1e-4)
    close = torch.isclose(found, wanted, rtol=tolerance, atol=tolerance)
    assert close.float().mean() > 0.999


def test_equals_mmcv():
    ops = pytest.importorskip('mmcv.ops', reason='mmcv without CUDA ops')
    input, boxes = large_case()
    output = border_align(input, boxes)
    theirs = ops.border_align(input, boxes, 10)
    torch.testing.assert_close(output, theirs, rtol=1e-4, atol=1e-4)
    grad = torch.randn_like(output).contiguous()
    (found,) = torch.autograd.grad(output, input, grad)
    (wanted,) = torch.autograd.grad(theirs, input, grad)
    close = torch.isclose(found, wanted, rtol=1e-3, atol=1e-3)
    assert close.float().mean() > 0.999


def test_gradient_is_the_same_in_every_run():
    input, boxes = large_case()
    output = border_align(input, boxes)
    grad = torch.randn_like(output)
    first, *others = (
        torch.autograd.grad(output, input, grad, retain_graph=True)[0]
        for _ in range(5)
    )
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_layouts(dtype):
    """Channels first, last and neither give the same."""
    input, boxes = large_case(dtype)
    input = input.detach()
    wide = torch.randn(*input.shape[:3], 112, device='cuda').to(dtype)
    wide[..., ::2] = input
    results = []
    for view in (
        input,
        input.contiguous(memory_format=torch.channels_last),
        wide[..., ::2],
    ):
        leaf = view.requires_grad_()
        output = border_align(leaf, boxes)
        grad = torch.ones_like(output).cumsum(2)
        (found,) = torch.autograd.grad(output, leaf, grad.contiguous())
        results.append((output, found))
    for output, found in results[1:]:
        assert torch.equal(output, results[0][0])
        assert torch.equal(found, results[0][1])


def test_two_streams():
    """Kernels run on the current stream, each with its own result."""
    input, boxes = large_case()
    expected = border_align(input, boxes).detach()
    torch.cuda.synchronize()
    results = []
    for scale in (1.0, -1.0):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream), torch.no_grad():
            wide = (input * scale).repeat(4, 1, 1, 1)
            results.append(border_align(wide, boxes.repeat(4, 1, 1)) * scale)
    torch.cuda.synchronize()
    assert torch.equal(results[0][:2], expected)
    assert (results[1][:2] <= expected).all()


def test_no_write_outside():
    """Guard bytes round every tensor of the backward pass stay as they are."""
    input, boxes = make_case('outside')
    input, boxes = input.cuda(), boxes.cuda()
    guard = torch.full((3, *input.shape), 7.0, device='cuda')
    guard[1] = input
    leaf = guard[1].requires_grad_()
    output = border_align(leaf, boxes * 100)
    output.sum().backward()
    assert (guard[0] == 7).all() and (guard[2] == 7).all()
    assert leaf.grad.isfinite().all()


def test_compile():
    input, boxes = large_case()
    compiled = torch.compile(
        lambda x, b: border_align(x * 2, b).relu(), fullgraph=True
    )
    expected = border_align(input * 2, boxes).relu()
    torch.testing.assert_close(compiled(input, boxes), expected)
