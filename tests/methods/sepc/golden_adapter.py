from golden_runner import adapter

from mmdet_assigners.methods.sepc.neck import SEPC
from mmdet_assigners.methods.sepc.pconv import PConv

NAMES = {
    'Pconvs.': 'pconvs.',
    'Pconv.0.': 'coarser.',
    'Pconv.1.': 'same.',
    'Pconv.2.': 'finer.',
    'cconv.': 'cls_conv.',
    'lconv.': 'reg_conv.',
    'cbn.': 'cls_norm.',
    'lbn.': 'reg_norm.',
    'bn.': 'norm.',
}


def rename(name):
    for theirs, ours in NAMES.items():
        if name.startswith(theirs) or f'.{theirs}' in name:
            name = name.replace(theirs, ours)
    return name


@adapter('sepc.pconv')
def pconv(case):
    params = case.params
    module = PConv(
        params['in_channels'],
        params['out_channels'],
        deform=params['part_deform'],
        ibn=params['iBN'],
    )
    outs = case.load(module, rename).train(params['train_mode'])(
        case.levels('x')
    )
    return case.results({f'out{i}': out for i, out in enumerate(outs)})


@adapter('sepc.neck')
def neck(case):
    params = case.params
    (in_channels,) = set(params['in_channels'])
    module = SEPC(
        in_channels,
        params['out_channels'],
        params['num_outs'],
        pconv_num=params['Pconv_num'],
        pconv_deform=params['pconv_deform'],
        lcconv_deform=params['lcconv_deform'],
        ibn=params['iBN'],
        head_padding=params['lconv_cconv_padding'],
    )
    pairs = case.load(module, rename).train(params['train_mode'])(
        case.levels('x')
    )
    outputs = {}
    for i, (cls_feat, loc_feat) in enumerate(pairs):
        outputs[f'cls{i}'] = cls_feat
        outputs[f'loc{i}'] = loc_feat
    return case.results(outputs)
