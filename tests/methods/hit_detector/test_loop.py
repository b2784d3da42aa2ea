"""The loop, the halves of the data and the hook, in real runners."""

import json

import pytest
import torch
from methods.hit_detector.toy import Toy, convs
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmdet_assigners.methods.hit_detector.bilevel import HalfDataset
from mmdet_assigners.methods.hit_detector.hook import ArchDeriveHook
from mmdet_assigners.methods.hit_detector.search_space import Searchable


class Images(Dataset):
    """Images of noise with their index in the first pixel, each twice."""

    metainfo = dict(classes=('a',))

    def __init__(self, count=9, times=2):
        self.count, self.times = count, times

    def __len__(self):
        return self.count * self.times

    def get_data_info(self, index):
        return dict(img_path=f'{index % self.count}.png')

    def __getitem__(self, index):
        index %= self.count
        generator = torch.Generator().manual_seed(index)
        x = torch.randn(3, 5, 5, generator=generator)
        x[0, 0, 0] = index
        return dict(inputs=x, targets=x.roll(1, 2))


class Part(Searchable):
    """The toy's logits as a part."""

    candidates = ('ir_k3_e1', 'ir_k5_e1', 'skip')

    def __init__(self, alpha):
        self.alpha = alpha

    @property
    def logits(self):
        return self.alpha


class SearchToy(Toy):
    """Has a genotype, and stacks its batch."""

    def forward(self, inputs, targets, mode='loss'):
        return super().forward(
            torch.stack(list(inputs)), torch.stack(list(targets)), mode
        )

    def genotype(self, keep):
        part = Part(self.arch_alpha)
        return {name: part.describe(keep[name]) for name in keep}


def run(work_dir, epochs=4, resume=False, stop=None, data=None, **options):
    torch.manual_seed(0)
    model = SearchToy([convs(3), convs(3)], torch.rand(2, 3), 0.1)
    hooks = [dict(type='ArchDeriveHook', keep=dict(head=2))]
    optim = dict(
        constructor='ArchOptimWrapperConstructor',
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
        arch=dict(optimizer=dict(type='Adam', lr=0.1)),
    )
    scheduler = dict(
        weights=[dict(type='MultiStepLR', milestones=[2])], arch=[]
    )
    train_cfg = dict(type='BilevelSearchLoop', max_epochs=epochs)
    train_cfg |= options.pop('train_cfg', {})
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=dict(
            dataset=data or Images(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        train_cfg=train_cfg,
        optim_wrapper=options.pop('optim_wrapper', optim),
        param_scheduler=options.pop('param_scheduler', scheduler),
        custom_hooks=hooks,
        resume=resume,
        randomness=dict(seed=3),
        default_scope='mmdet',
        experiment_name=f'{work_dir.name}_{resume}',
        log_level='WARNING',
        **options,
    )
    if stop is not None:
        runner.register_hook(stop)
    runner.train()
    return runner, model


def seen(model, arch):
    """Images of all steps of a type."""
    return [
        int(image[0, 0, 0])
        for step, batch in model.steps
        if step == arch
        for image in batch['inputs']
    ]


def test_halves_are_disjoint():
    for count in (2, 9):
        halves = [HalfDataset(Images(count), half, 5) for half in (0, 1)]
        paths = [
            {h.get_data_info(i)['img_path'] for i in range(len(h))}
            for h in halves
        ]
        assert not paths[0] & paths[1]
        assert len(paths[0] | paths[1]) == count
        assert len(halves[0]) + len(halves[1]) == 2 * count
        assert {int(halves[0][i]['inputs'][0, 0, 0]) for i in (0, 1)} <= {
            int(path.split('.')[0]) for path in paths[0]
        }
    splits = [HalfDataset(Images(), 0, seed).indices for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_loop(tmp_path):
    runner, model = run(tmp_path)
    weights, arch = seen(model, False), seen(model, True)
    assert not set(weights) & set(arch)
    assert set(weights) | set(arch) == set(range(9))
    # 8 samples of 4 images, and 10 of 5; the last two of four epochs search
    per_epoch = 4
    order = [step for step, _ in model.steps]
    assert order[: 2 * per_epoch] == [False] * 2 * per_epoch
    assert order[2 * per_epoch :] == [False, True] * 2 * per_epoch
    assert runner.iter == 4 * per_epoch
    # the schedule is of the weights alone
    rates = runner.optim_wrapper.get_lr()
    assert rates['weights.lr'] == [pytest.approx(0.001)]
    assert rates['arch.lr'] == [0.1]
    for epoch in range(1, 5):
        path = tmp_path / 'genotypes' / f'epoch_{epoch}.json'
        content = json.loads(path.read_text())
        assert content['epoch'] == epoch
        assert len(content['backbone']['genotype']) == 2
        assert len(content['head']['kept']) == 2
        assert len(content['neck']['kept']) == 3
    assert json.loads((tmp_path / 'genotype.json').read_text()) == content
    best = model.arch_alpha.argmax(1).tolist()
    expected = [Part.candidates[i] for i in best]
    assert content['backbone']['genotype'] == expected
    assert not list(tmp_path.rglob('*.part'))
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    key = 'op_entropy/neck'
    entropies = [line[key] for line in logged if key in line]
    assert len(entropies) == 4
    assert entropies[-1] == pytest.approx(content['neck']['entropy'])


class Interrupted(Exception):
    """Of the test."""


def test_resume_finds_the_same(tmp_path):
    """Bitwise the logits and files of a run without an interruption."""

    class Stop(ArchDeriveHook):
        priority = 'LOWEST'

        def after_train_epoch(self, runner):
            if runner.epoch == 2:
                raise Interrupted

    _, straight = run(tmp_path / 'straight')
    with pytest.raises(Interrupted):
        run(tmp_path / 'resumed', stop=Stop())
    _, resumed = run(tmp_path / 'resumed', resume=True)
    assert torch.equal(straight.arch_alpha, resumed.arch_alpha)
    for path in (tmp_path / 'straight').rglob('*.json'):
        if path.name.startswith(('genotype', 'epoch')):
            other = (
                tmp_path / 'resumed' / path.relative_to(tmp_path / 'straight')
            )
            assert path.read_text() == other.read_text()


def test_other_half_starts_again(tmp_path):
    """Also if it has fewer batches than the weights' half."""

    class Odd(Images):
        def get_data_info(self, index):
            # half 0 of two images: the one that occurs often
            return dict(img_path='b' if index < 14 else 'a')

    for seed in range(5):
        first = HalfDataset(Odd(), 0, seed)
        if len(first) == 14:
            break
    _, model = run(
        tmp_path,
        epochs=1,
        data=Odd(),
        train_cfg=dict(arch_begin=0, split_seed=seed),
    )
    order = [step for step, _ in model.steps]
    assert order == [False, True] * 7


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (
            dict(train_cfg=dict(arch_begin=1.0)),
            ValueError,
            r'arch_begin must be in \[0, 1\), got 1\.0',
        ),
        (
            dict(data=Images(1)),
            ValueError,
            'a search needs at least 2 images with objects, got 1',
        ),
    ],
)
def test_bad_options(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        run(tmp_path, **options)


def test_needs_two_optimizers(tmp_path):
    single = dict(optimizer=dict(type='SGD', lr=0.1))
    with pytest.raises(TypeError, match=r'needs two optimizers.*OptimWrapper'):
        run(tmp_path, optim_wrapper=single, param_scheduler=None)


def test_needs_the_loop(tmp_path):
    """`--small` replaces it by mmengine's."""
    loop = dict(train_cfg=dict(type='EpochBasedTrainLoop'))
    single = dict(optimizer=dict(type='SGD', lr=0.1))
    with pytest.raises(TypeError, match=r'type=BilevelSearchLoop, got Epoch'):
        run(tmp_path, optim_wrapper=single, param_scheduler=None, **loop)


@pytest.mark.parametrize('keep', [dict(tail=2), dict(neck=0)])
def test_bad_keep(keep):
    with pytest.raises(ValueError, match='keep must have numbers of at least'):
        ArchDeriveHook(keep)


def test_bad_half():
    with pytest.raises(ValueError, match='half must be 0 or 1, got 2'):
        HalfDataset(Images(), 2)
