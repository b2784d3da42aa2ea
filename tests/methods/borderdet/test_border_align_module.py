"""The Border Alignment Module."""

import torch
import torch.nn.functional as F

from mmdet_assigners.methods.borderdet.border_align_module import (
    BorderAlignModule,
)


def make_module(seed=0, **kwargs):
    torch.manual_seed(seed)
    return BorderAlignModule(
        **{'in_channels': 6, 'border_channels': 3} | kwargs
    )


def cell_boxes(height, width):
    """The box of each cell is the cell: (1, H * W, 4)."""
    y, x = torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing='ij'
    )
    xy = torch.stack((x, y), -1).view(1, -1, 2).float()
    return torch.cat((xy, xy), -1)


def test_boxes_of_no_size_read_their_cell():
    """Then the module is three 1x1 convolutions and two norms."""
    module = make_module()
    x = torch.randn(2, 6, 4, 5)
    boxes = cell_boxes(4, 5).expand(2, -1, -1)
    borders = F.instance_norm(module.ltrb_conv[0](x)).relu()
    point = F.instance_norm(module.cur_point_conv[0](x)).relu()
    expected = module.border_conv(torch.cat((borders, point), 1))
    torch.testing.assert_close(module(x, boxes), expected)


def test_order_of_borders():
    """Channel groups: top, left, bottom, right, then the point."""
    module = make_module(border_channels=1, in_channels=1)
    module.ltrb_conv = torch.nn.Identity()  # shows what the op gets
    seen = {}
    module.border_conv.register_forward_pre_hook(
        lambda _, args: seen.update(x=args[0])
    )
    module.ltrb_conv.forward = lambda x: torch.cat(
        [x * 0 + 10.0 * (e + 1) for e in range(4)], 1
    )
    x = torch.randn(1, 1, 3, 3)
    module(x, cell_boxes(3, 3))
    found = seen['x'][0, :4].flatten(1)
    assert (found == torch.tensor([[10.0], [20], [30], [40]])).all()
    assert seen['x'].shape == (1, 5, 3, 3)
    point = module.cur_point_conv(x)
    assert torch.equal(seen['x'][:, 4:], point)


def test_no_gradient_to_boxes():
    module = make_module()
    boxes = (cell_boxes(4, 5) + torch.tensor([0, 0, 1.5, 1])).requires_grad_()
    module(torch.randn(1, 6, 4, 5), boxes).sum().backward()
    assert boxes.grad is None
    assert all(p.grad is not None for p in module.parameters())


def test_same_statistics_in_training_and_at_test():
    module = make_module()
    x, boxes = torch.randn(2, 6, 4, 5), cell_boxes(4, 5).expand(2, -1, -1)
    expected = module.train()(x, boxes)
    assert torch.equal(module.eval()(x, boxes), expected)
    alone = module(x[1:], boxes[1:])
    torch.testing.assert_close(alone, expected[1:])
    assert not list(module.buffers())


def test_map_of_one_cell():
    """Normalized to 0: the bias of the last convolution remains."""
    module = make_module().train()
    out = module(torch.randn(2, 6, 1, 1), cell_boxes(1, 1).expand(2, -1, -1))
    expected = module.border_conv[0].bias.relu().view(1, 6, 1, 1)
    torch.testing.assert_close(out, expected.expand(2, -1, -1, -1))
    out.sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
