"""The official RetinaNet on SpineNet, with variables as TensorFlow names them.

Written out from the structure of tensorflow/tpu (models/official/detection):
each call makes its variables in the scope that is open, and computes. Maps are
(B, C, H, W) here.
"""

import contextlib
import math

import torch
import torch.nn.functional as F

FILTERS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}
# level, bottleneck, parents, output
SPECS = [
    (2, True, (0, 1), False),
    (4, False, (0, 1), False),
    (3, True, (2, 3), False),
    (4, True, (2, 4), False),
    (6, False, (3, 5), False),
    (4, True, (3, 5), False),
    (5, False, (6, 7), False),
    (7, False, (6, 8), False),
    (5, True, (8, 9), False),
    (5, True, (8, 10), False),
    (4, True, (5, 10), True),
    (3, True, (4, 10), True),
    (5, True, (7, 12), True),
    (7, True, (5, 14), True),
    (6, True, (12, 14), True),
]
SIZES = {  # width, repeats, alpha, channels of the outputs, head
    '49S': (0.65, 1, 0.5, 128, 4),
    '49': (1.0, 1, 0.5, 256, 4),
    '96': (1.0, 2, 0.5, 256, 4),
    '143': (1.0, 3, 1.0, 256, 4),
    '190': (1.3, 4, 1.0, 512, 7),
}
EPS = 1e-4


class Graph:
    """Builds the graph; ``variables`` holds what a checkpoint would.

    Args:
        activation: ReLU or swish.
        data: Compute, otherwise make shapes alone (device ``meta``).
    """

    def __init__(self, activation=F.silu, data=True):
        self.variables = {}
        self.activation = activation
        self.device = 'cpu' if data else 'meta'
        self.scopes = []
        self.counts = {}
        self.generator = torch.Generator().manual_seed(0)

    @contextlib.contextmanager
    def scope(self, name):
        self.scopes.append(name)
        yield
        self.scopes.pop()

    def unique(self, layer):
        """``layer``, ``layer_1``, ... in the order of the calls."""
        path = '/'.join([*self.scopes, layer])
        count = self.counts.get(path, 0)
        self.counts[path] = count + 1
        return f'{path}_{count}' if count else path

    def variable(self, name, shape, mean=0.0, std=1.0, low=None):
        if name not in self.variables:
            value = torch.empty(shape, dtype=torch.double, device=self.device)
            if self.device == 'cpu':
                value.normal_(mean, std, generator=self.generator)
                value = value.clamp(min=low) if low is not None else value
            self.variables[name] = value
        return self.variables[name]

    def conv(self, x, filters, kernel, stride=1, name=None, bias=False):
        name = f'{"/".join(self.scopes)}/{name}' if name else None
        name = name or self.unique('conv2d')
        shape = (kernel, kernel, x.shape[1], filters)
        std = 1.2 / math.sqrt(kernel * kernel * x.shape[1])
        weight = self.variable(f'{name}/kernel', shape, std=std)
        pad = (kernel - 1) // 2
        x = F.conv2d(x, weight.permute(3, 2, 0, 1), None, stride, pad)
        if bias:
            x = x + self.variable(f'{name}/bias', (filters,)).view(-1, 1, 1)
        return x

    def norm(self, x, act=True, name=None):
        name = f'{"/".join(self.scopes)}/{name}' if name else None
        name = name or self.unique('batch_normalization')
        shape = (x.shape[1],)
        gamma = self.variable(f'{name}/gamma', shape, 1, 0.1)
        beta = self.variable(f'{name}/beta', shape, 0, 0.1)
        mean = self.variable(f'{name}/moving_mean', shape, 0, 0.1)
        variance = self.variable(
            f'{name}/moving_variance', shape, 1, 0.2, low=0.3
        )
        x = F.batch_norm(x, mean, variance, gamma, beta, eps=EPS)
        return self.activation(x) if act else x

    def pool(self, x, kernel, stride):
        """``SAME`` on sizes that the stride divides: pad at the end."""
        pad = kernel - stride
        start = pad // 2
        pads = (start, pad - start) * 2
        return F.max_pool2d(F.pad(x, pads, value=-1e30), kernel, stride)

    def group(self, x, filters, bottleneck, repeats):
        for r in range(repeats):
            out = filters * (4 if bottleneck else 1)
            shortcut = x
            if r == 0 and x.shape[1] != out:
                shortcut = self.norm(self.conv(x, out, 1), act=False)
            if bottleneck:
                x = self.norm(self.conv(x, filters, 1))
            x = self.norm(self.conv(x, filters, 3))
            last = 1 if bottleneck else 3
            x = self.norm(self.conv(x, out, last), act=False)
            x = self.activation(x + shortcut)
        return x

    def resample(self, x, was_bottleneck, width, out, alpha):
        filters = x.shape[1] / 4 if was_bottleneck else x.shape[1]
        filters = int(filters * alpha)
        x = self.norm(self.conv(x, filters, 1))
        ratio = x.shape[3] / width
        if ratio > 1:
            x = self.norm(self.conv(x, filters, 3, 2))
            if ratio > 2:
                x = self.pool(x, 3 if ratio <= 4 else 5, int(ratio) // 2)
        elif ratio < 1:
            times = int(1 / ratio)
            x = x.repeat_interleave(times, 2).repeat_interleave(times, 3)
        return self.norm(self.conv(x, out, 1), act=False)

    def backbone(self, x, arch):
        width, repeats, alpha, channels, _ = SIZES[arch]
        side = x.shape[3]
        with self.scope('spinenet'):
            x = self.pool(self.norm(self.conv(x, 64, 7, 2)), 3, 2)
            feats, types = [], [True, True]
            for _ in range(2):
                x = self.group(x, int(64 * width), True, repeats)
                feats.append(x)
            outs = {}
            used = [0, 0]
            for i, (level, bottleneck, parents, output) in enumerate(SPECS):
                filters = int(FILTERS[level] * width)
                out = filters * (4 if bottleneck else 1)
                with self.scope(f'sub_policy{i}'):
                    merged = 0
                    for k, parent in enumerate(parents):
                        name = f'resample_with_alpha_resample_{i}_{k}'
                        with self.scope(name):
                            merged = merged + self.resample(
                                feats[parent],
                                types[parent],
                                side // 2**level,
                                out,
                                alpha,
                            )
                        used[parent] += 1
                    for j, feat in enumerate(feats):
                        same = output and feat.shape == merged.shape
                        if same and not used[j]:
                            merged = merged + feat
                            used[j] += 1
                    with self.scope(f'scale_permuted_block_{len(feats)}'):
                        x = self.group(
                            self.activation(merged),
                            filters,
                            bottleneck,
                            repeats,
                        )
                feats.append(x)
                types.append(bottleneck)
                used.append(0)
                if output:
                    outs[level] = x
            return {
                level: self.norm(self.conv(outs[level], channels, 1))
                for level in range(3, 8)
            }

    def head(self, feats, arch, classes=91):
        """Logits and boxes (B, anchors * numbers, H, W) of each level."""
        *_, channels, count = SIZES[arch]
        found = []
        with self.scope('retinanet'):
            for level, feat in feats.items():
                for net, part, outputs in (
                    ('class_net', 'class', 9 * classes),
                    ('box_net', 'box', 36),
                ):
                    with self.scope(net):
                        x = feat
                        for i in range(count):
                            x = self.conv(
                                x, channels, 3, name=f'{part}-{i}', bias=True
                            )
                            x = self.norm(x, name=f'{part}-{i}-{level}')
                        x = self.conv(
                            x, outputs, 3, name=f'{part}-predict', bias=True
                        )
                    found.append(x)
        return found[::2], found[1::2]


def anchors(level, size):
    """Centers and sides (H, W, 9, 4), y before x, of an image of a size."""
    stride = 2**level
    rows = []
    for scale in range(3):
        for ratio in (1.0, 2.0, 0.5):  # width over height
            side = size * stride * 2 ** (scale / 3)
            rows.append((side * ratio**-0.5, side * ratio**0.5))
    sides = torch.tensor(rows, dtype=torch.double)
    return stride, sides
