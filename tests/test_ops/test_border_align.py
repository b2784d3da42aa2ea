"""BorderAlign: hand-made cases, edge cases, all implementations alike."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_ops.border_align_cases import (
    CASES,
    LEVELS,
    check_case,
    check_levels,
    make_case,
)

from mmdet_assigners.ops.border_align import _torch as torch_kernels
from mmdet_assigners.ops.border_align import (
    border_align,
    border_align_argmax,
    border_align_levels,
)

IMPLEMENTATIONS = ['torch', 'reference']
ROOT = Path(__file__).parents[2]


def one_box(box, dtype=torch.float64):
    return torch.tensor([[box]], dtype=dtype)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('name', CASES)
def test_equals_brute_force(name, implementation):
    check_case(name, implementation, torch.device('cpu'))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_levels_equal_maps(implementation):
    check_levels(implementation, torch.device('cpu'))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_literal_values(implementation):
    """Value 10 y + x + 100 e at cell (x, y) of border e; box (1, 0)-(3, 2)."""
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing='ij')
    input = torch.stack([10 * y + x + 100 * e for e in range(4)])[None]
    output, argmax = border_align_argmax(
        input, one_box([1, 0, 3, 2]), 4, implementation=implementation
    )
    # top to (3, 0); left to (1, 2); bottom and right start at (3, 2)
    assert output.flatten().tolist() == [3, 121, 223, 323]
    assert argmax.flatten().tolist() == [4, 4, 0, 0]
    # (1.25, 0.5) to (1.75, 0.5): bilinear
    output = border_align(
        input, one_box([1.25, 0.5, 1.75, 0.5]), implementation=implementation
    )
    expected = torch.tensor([6.75, 106.25, 206.75, 306.75])
    torch.testing.assert_close(output.flatten(), expected)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_constant_feature(implementation):
    """Constant inside; outside by more than a cell everything is 0."""
    input = torch.full((1, 8, 5, 6), -2.5)
    boxes = torch.tensor([[[0.3, 0.7, 4.1, 3.9], [20.0, 9, 30, 12]]])
    output = border_align(input, boxes, implementation=implementation)
    assert torch.allclose(output[:, :, 0], torch.tensor(-2.5))
    assert (output[:, :, 1] == 0).all()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_edge_of_the_map(implementation):
    """Up to one cell outside counts as the edge, further is 0."""
    input = torch.full((1, 4, 3, 3), -1.0)
    found = {
        at: border_align(
            input, one_box([at] * 4), implementation=implementation
        )
        .unique()
        .tolist()
        for at in (-1.0, -1.001, 3.0, 3.001)
    }
    assert found == {-1.0: [-1], -1.001: [0], 3.0: [-1], 3.001: [0]}


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_each_border_reads_its_own_channels(implementation):
    """A bright cell on the top border lights channel group 0 only there."""
    boxes = one_box([1, 1, 5, 5], torch.float32)
    for group, (y, x) in enumerate([(1, 3), (3, 1), (5, 3), (3, 5)]):
        for channel in range(4):
            input = torch.zeros(1, 8, 7, 7)
            input[0, 2 * channel, y, x] = 1
            output = border_align(
                input, boxes, 4, implementation=implementation
            )
            expected = torch.zeros(1, 2, 1, 4)
            expected[0, 0, 0, group] = float(channel == group)
            assert torch.equal(output, expected)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_pool_size_1_is_the_corners(implementation):
    torch.manual_seed(0)
    input = torch.randn(1, 4, 6, 6)
    output = border_align(
        input, one_box([1, 2, 4, 5]), 1, implementation=implementation
    )[0, 0, 0]
    a, b, c, d = input[0]
    expected = [
        max(a[2, 1], a[2, 4]),
        max(b[2, 1], b[5, 1]),
        max(c[5, 4], c[5, 1]),
        max(d[5, 4], d[2, 4]),
    ]
    assert output.tolist() == [value.item() for value in expected]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_first_of_equal_samples_gets_the_gradient(implementation):
    input = torch.zeros(1, 4, 5, 5, requires_grad=True)
    output = border_align(
        input, one_box([1, 1, 3, 3]), 2, implementation=implementation
    )
    output.sum().backward()
    cells = input.grad[0].nonzero().tolist()
    # top and left from (1, 1), bottom and right from (3, 3)
    assert cells == [[0, 1, 1], [1, 1, 1], [2, 3, 3], [3, 3, 3]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_boxes_that_are_not_finite(implementation, bad):
    """Samples without a position are 0; other boxes don't notice."""
    torch.manual_seed(0)
    input = torch.randn(1, 8, 5, 5, requires_grad=True)
    boxes = torch.tensor([[[bad] * 4, [1.0, 1, 3, 3], [bad, 1, 3, 3]]])
    output = border_align(input, boxes, implementation=implementation)
    assert (output[:, :, 0] == 0).all() and output.isfinite().all()
    alone = border_align(input, boxes[:, 1:2], implementation=implementation)
    assert torch.equal(output[:, :, 1:2], alone)
    output.sum().backward()
    assert input.grad.isfinite().all()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nan_in_the_feature_is_seen(implementation):
    input = torch.zeros(1, 4, 5, 5)
    input[0, 0, 1, 2] = float('nan')
    output = border_align(
        input, one_box([1, 1, 3, 3]), 2, implementation=implementation
    )
    assert output.isnan().tolist() == [[[[True, False, False, False]]]]


def test_infinite_gradient_stays_where_it_belongs():
    """No 0 * inf in cells without a share, nor outside the map."""
    input = torch.arange(25.0).repeat(4, 1).view(1, 4, 5, 5).requires_grad_()
    boxes = torch.tensor([[[1.0, 1, 3, 3], [9.0, 9, 12, 12]]])
    output = border_align(input, boxes, 2)
    grad = torch.full_like(output, float('inf'))
    (found,) = torch.autograd.grad(output, input, grad)
    assert not found.isnan().any() and found.isinf().sum() == 4


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('value', [float('inf'), -float('inf')])
def test_infinite_cell_without_a_share_is_not_nan(implementation, value):
    """It counts where a sample lies on it, and nowhere else."""
    input = torch.zeros(1, 4, 4, 4)
    input[..., 0, 0] = value
    boxes = torch.tensor(
        [[[0.0, 0, 0, 0], [1, 0, 3, 2], [0, 1, 2, 3], [9, 9, 11, 11]]]
    )
    output = border_align(input, boxes, 2, implementation=implementation)
    assert (output[0, 0, 0] == value).all()
    assert (output[0, 0, 1:] == 0).all()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_gradcheck(implementation):
    input, boxes = make_case('clamped')
    input = input[:, :8, :4, :5].double().clone().requires_grad_()
    boxes = boxes[:, :6].double()
    assert torch.autograd.gradcheck(
        lambda x: border_align(x, boxes, 3, implementation=implementation),
        input,
    )


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_layouts_and_batches(implementation):
    """Strides don't matter, images neither."""
    input, boxes = make_case('odd channels')
    expected = border_align(input, boxes, implementation=implementation)

    def run(x, b):
        return border_align(x, b, implementation=implementation)

    wide = torch.randn(*input.shape[:3], 2 * input.shape[3])
    wide[..., ::2] = input
    views = [
        input.contiguous(memory_format=torch.channels_last),
        wide[..., ::2],
        input.mT.contiguous().mT,
    ]
    for view in views:
        assert torch.equal(run(view, boxes), expected)
    assert torch.equal(run(input, boxes.mT.contiguous().mT), expected)
    singles = [run(input[i : i + 1], boxes[i : i + 1]) for i in range(2)]
    assert torch.equal(torch.cat(singles), expected)


@pytest.mark.parametrize('shape', [(0, 3), (2, 0)])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nothing_to_do(shape, implementation):
    batch, count = shape
    input = torch.randn(batch, 8, 3, 4, requires_grad=True)
    output = border_align(
        input, torch.zeros(batch, count, 4), implementation=implementation
    )
    assert output.shape == (batch, 2, count, 4)
    output.sum().backward()
    assert input.grad.shape == input.shape and (input.grad == 0).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half(dtype):
    """Positions and sums in float32: the rounded float32 result."""
    input, boxes = make_case('odd channels')
    input = input.to(dtype).requires_grad_()
    output = border_align(input, boxes)
    wide = input.detach().float().requires_grad_()
    expected = border_align(wide, boxes)
    assert torch.equal(output, expected.to(dtype))
    grad = torch.randn_like(output)
    output.backward(grad)
    expected.backward(grad.float())
    assert input.grad.dtype == dtype
    torch.testing.assert_close(input.grad, wide.grad.to(dtype))


def test_chunks_change_nothing(monkeypatch):
    input, boxes = make_case('odd channels')
    input.requires_grad_()
    output = border_align(input, boxes)
    grad = torch.randn_like(output)
    (expected,) = torch.autograd.grad(output, input, grad)
    monkeypatch.setattr(torch_kernels, 'CHUNK', 1)
    chunked = border_align(input, boxes)
    assert torch.equal(chunked, output)
    (found,) = torch.autograd.grad(chunked, input, grad)
    torch.testing.assert_close(found, expected)


def test_without_gradient_no_argmax():
    """The output is the same; the arg-max isn't computed."""
    input, boxes = make_case('clamped')
    expected = border_align(input.clone().requires_grad_(), boxes)
    assert torch.equal(border_align(input, boxes), expected.detach())
    op = torch.ops.mmdet_assigners.border_align
    cells, sizes = input.flatten(2).mT, input.shape[2:]
    args = (boxes, 10, sizes, [boxes.shape[1]], [], False, 'auto')
    assert op(cells, *args)[1].shape == (0,)
    with pytest.raises(RuntimeError, match='without a gradient'):
        op(cells.requires_grad_(), *args)[0].sum().backward()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(input=torch.zeros(1, 14, 4)), r'\(B, 13, 4C\).*\(1, 14, 4\)'),
        (dict(input=torch.zeros(1, 13, 6)), r'\(1, 13, 6\)'),
        (dict(input=torch.zeros(1, 4, 13, 1)), r'\(1, 4, 13, 1\)'),
        (dict(boxes=torch.zeros(1, 12, 4)), r'\(B, 13, 4\).*\(1, 12, 4\)'),
        (dict(sizes=[(3, 4)]), r'\(B, 12, 4C\).*\(1, 13, 4\)'),
    ],
)
def test_levels_that_do_not_fit(change, message):
    args = dict(
        input=torch.zeros(1, 13, 4),
        boxes=torch.zeros(1, 13, 4),
        sizes=[(3, 4), (1, 1)],
    )
    with pytest.raises(ValueError, match=message):
        border_align_levels(**{**args, **change})


@pytest.mark.parametrize('implementation', ['torch', 'reference'])
def test_second_derivative(implementation):
    """That of a maximum of linear functions is 0; kernels refuse it."""
    input, boxes = make_case('clamped')
    output = border_align(
        input.requires_grad_(), boxes, implementation=implementation
    )
    (found,) = torch.autograd.grad(
        output.square().sum(), input, create_graph=True
    )
    if implementation == 'reference':
        found.sum().backward()
    else:
        with pytest.raises(RuntimeError, match='no autograd formula'):
            found.sum().backward()


def test_memory_layout():
    """What the next layer sees as 4C channels is channels-last."""
    input, boxes = make_case('clamped')
    output = border_align(input, boxes)
    assert output.permute(0, 2, 3, 1).is_contiguous()


def test_operator_contract():
    """Schema, fake tensors, autograd registration, AOT."""
    input, boxes = make_case('clamped')
    sizes, counts = [*input.shape[2:], 1, 1], [boxes.shape[1] - 2, 2]
    cells = torch.cat(
        [input.flatten(2), torch.ones_like(input[..., 0, :1])], 2
    )
    op = torch.ops.mmdet_assigners.border_align.default
    args = (cells.mT.clone().requires_grad_(), boxes, 3, sizes, counts, [])
    torch.library.opcheck(op, (*args, True, 'auto'))
    args = (cells.mT, boxes, 3, sizes, counts, [])
    torch.library.opcheck(
        op, (*args, False, 'auto'), test_utils='test_faketensor'
    )
    _, argmax = op(*args, True, 'auto')
    grad = torch.randn(argmax.shape)
    args = (grad, argmax, boxes, 3, sizes, counts, [], 'auto')
    torch.library.opcheck(
        torch.ops.mmdet_assigners.border_align_backward.default, args
    )


def test_compile_and_export():
    input, boxes = make_case('clamped')

    class Module(torch.nn.Module):
        def forward(self, x, boxes):
            return border_align(x * 2, boxes).sin()

    module = Module()
    expected = module(input, boxes)
    compiled = torch.compile(module, backend='aot_eager', fullgraph=True)
    leaf = input.clone().requires_grad_()
    output = compiled(leaf, boxes)
    torch.testing.assert_close(output, expected)
    output.sum().backward()
    wanted = input.clone().requires_grad_()
    module(wanted, boxes).sum().backward()
    torch.testing.assert_close(leaf.grad, wanted.grad)
    count = torch.export.Dim('count')
    exported = torch.export.export(
        module, (input, boxes), dynamic_shapes=(None, {1: count})
    )
    fewer = exported.module()(input, boxes[:, :3])
    torch.testing.assert_close(fewer, expected[:, :, :3])


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(input=torch.zeros(1, 6, 3, 3)), ValueError, r'\(1, 6, 3, 3\)'),
        (dict(input=torch.zeros(4, 3, 3)), ValueError, r'\(B, 4C, H, W\)'),
        (dict(input=torch.zeros(1, 4, 0, 3)), ValueError, r'\(1, 4, 0, 3\)'),
        (dict(input=torch.zeros(1, 4, 3, 3).int()), TypeError, 'int32'),
        (dict(boxes=torch.zeros(2, 3, 4)), ValueError, 'B = 1'),
        (dict(boxes=torch.zeros(1, 3, 5)), ValueError, r'\(1, 3, 5\)'),
        (dict(boxes=torch.zeros(1, 3, 4).long()), TypeError, 'boxes.*int64'),
        (dict(boxes=torch.zeros(1, 3, 4).to('meta')), ValueError, 'meta'),
        (dict(pool_size=0), ValueError, '1..255, got 0'),
        (dict(pool_size=256), ValueError, 'got 256'),
        (dict(pool_size=2.0), TypeError, 'got 2.0'),
        (dict(implementation='cuda'), ValueError, "got 'cuda'"),
    ],
)
def test_bad_input(change, error, message):
    args = dict(input=torch.zeros(1, 4, 3, 3), boxes=torch.zeros(1, 3, 4))
    with pytest.raises(error, match=message):
        border_align(**{**args, **change})


def test_triton_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'triton', None)
    monkeypatch.delitem(
        sys.modules, 'mmdet_assigners.ops.border_align._triton', raising=False
    )
    with pytest.raises(ValueError, match="Triton can't be imported"):
        border_align(
            torch.zeros(1, 4, 3, 3),
            torch.zeros(1, 3, 4),
            implementation='triton',
        )


WITH_TRITON = pytest.mark.skipif(
    importlib.util.find_spec('triton') is None, reason='Triton not installed'
)


@WITH_TRITON
def test_triton_kernels_interpreted():
    """The GPU kernels in Triton's interpreter, in a process of their own."""
    script = Path(__file__).with_name('border_align_cases.py')
    env = {**os.environ, 'TRITON_INTERPRET': '1'}
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', str(script)],
        env=env,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    assert f'{len(CASES)} cases and {len(LEVELS)} levels' in run.stdout


@WITH_TRITON
@pytest.mark.parametrize('dtype', ['fp32', 'fp16', 'bf16'])
@pytest.mark.parametrize('capability', [80, 90])
def test_triton_kernels_compile(capability, dtype):
    """To machine code of a GPU that needn't be there; maps by vectors."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mmdet_assigners.ops.border_align import _kernels, _triton

    def build(kernel, types, constants):
        names = kernel.arg_names
        # as at a call: pointers and 128 channels are multiples of 16
        attrs = {
            (i,): [['tt.divisibility', 16]]
            for i, name in enumerate(names)
            if name.endswith('_ptr') or name == 'channels'
        }
        source = ASTSource(
            kernel,
            {n: types.get(n, 'constexpr') for n in names},
            {(names.index(n),): value for n, value in constants.items()},
            attrs,
        )
        return compile_kernel(source, GPUTarget('cuda', capability, 32)).asm

    names = ('cells', 'count', 'channels', 'lines')
    block = dict(pool_size=10, levels=5)
    types = dict.fromkeys(names, 'i32')
    types |= dict(boxes_ptr='*fp32', record_ptr='*fp32', argmax_ptr='*u8')
    types |= dict(levels_ptr='*i32', key_ptr='*i32')
    code = build(
        _kernels.forward_kernel,
        dict(types, input_ptr=f'*{dtype}', output_ptr=f'*{dtype}'),
        dict(block, with_argmax=True, block_m=8, block_c=128),
    )
    assert code['cubin'] and 'ld.global.v4.b32' in code['ptx']
    code = build(_kernels.index_kernel, types, dict(block, block_m=512))
    assert code['cubin']
    pointers = dict(grad_ptr=f'*{dtype}', found_ptr=f'*{dtype}')
    pointers |= dict(order_ptr='*i64', first_ptr='*i32')
    code = build(
        _kernels.backward_kernel,
        types | pointers,
        dict(block, block_x=_triton.BLOCK_X, block_c=128),
    )
    assert code['cubin'] and 'atom' not in code['ptx']
