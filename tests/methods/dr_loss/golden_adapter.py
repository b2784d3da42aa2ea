"""Golden op of DR loss."""

from golden_runner import adapter
from mmengine.registry import init_default_scope

from mmdet_assigners.methods.dr_loss.loss import DRLoss


@adapter('dr_loss.loss')
def loss(case):
    init_default_scope('mmdet')
    logits, targets = case['logits'], case['targets']
    # 1..K is a class, 0 background, which mmdet writes as K
    labels = (targets - 1).where(targets > 0, logits.shape[1])
    value = DRLoss(**case.params)(logits, labels, (targets >= 0).to(logits))
    return case.results({'loss': value}, value)
