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


def run(module, x, boxes):
    """On one map (B, in_channels, H, W)."""
    return module([x], boxes).view(x.shape)


def test_boxes_of_no_size_read_their_cell():
    """Then the module is three 1x1 convolutions and two norms."""
    module = make_module()
    x = torch.randn(2, 6, 4, 5)
    boxes = cell_boxes(4, 5).expand(2, -1, -1)
    borders = F.instance_norm(module.ltrb_conv[0](x)).relu()
    point = F.instance_norm(module.cur_point_conv[0](x)).relu()
    expected = module.border_conv(torch.cat((borders, point), 1))
    torch.testing.assert_close(run(module, x, boxes), expected)


def test_levels_are_normalized_and_pooled_on_their_own():
    module = make_module()
    sizes = [(4, 5), (2, 3), (1, 1)]
    feats = [torch.randn(2, 6, *size) * 3 for size in sizes]
    boxes = [
        (cell_boxes(*size) + torch.randn(2, 1, 4)).clamp(min=0)
        for size in sizes
    ]
    found = module(feats, torch.cat(boxes, 1))
    wanted = [
        run(module, x, box).flatten(2)
        for x, box in zip(feats, boxes, strict=True)
    ]
    torch.testing.assert_close(found.squeeze(2), torch.cat(wanted, 2))


def test_order_of_borders():
    """Channel groups: top, left, bottom, right, then the point."""
    module = make_module(border_channels=1, in_channels=1)
    with torch.no_grad():
        for norm in (module.ltrb_conv[1], module.cur_point_conv[1]):
            norm.forward = lambda x, counts: x
        for conv in (module.ltrb_conv[0], module.cur_point_conv[0]):
            conv.weight.zero_()
            conv.bias.copy_(10 * torch.arange(1, len(conv.bias) + 1))
        module.cur_point_conv[0].bias.fill_(50)
    seen = {}
    module.border_conv.register_forward_pre_hook(
        lambda _, args: seen.update(x=args[0])
    )
    module([torch.randn(1, 1, 3, 3)], cell_boxes(3, 3))
    expected = torch.tensor([10.0, 20, 30, 40, 50]).view(1, 5, 1, 1)
    assert torch.equal(seen['x'], expected.expand(1, 5, 1, 9))


def test_no_gradient_to_boxes():
    module = make_module()
    boxes = (cell_boxes(4, 5) + torch.tensor([0, 0, 1.5, 1])).requires_grad_()
    run(module, torch.randn(1, 6, 4, 5), boxes).sum().backward()
    assert boxes.grad is None
    assert all(p.grad is not None for p in module.parameters())


def test_same_statistics_in_training_and_at_test():
    module = make_module()
    x, boxes = torch.randn(2, 6, 4, 5), cell_boxes(4, 5).expand(2, -1, -1)
    expected = run(module.train(), x, boxes)
    assert torch.equal(run(module.eval(), x, boxes), expected)
    alone = run(module, x[1:], boxes[1:])
    torch.testing.assert_close(alone, expected[1:])
    assert not list(module.buffers())


def test_map_of_one_cell():
    """Normalized to 0: the bias of the last convolution remains."""
    module = make_module().train()
    out = module([torch.randn(2, 6, 1, 1)], cell_boxes(1, 1).expand(2, -1, -1))
    expected = module.border_conv[0].bias.relu().view(1, 6, 1, 1)
    torch.testing.assert_close(out, expected.expand(2, -1, -1, -1))
    out.sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()
