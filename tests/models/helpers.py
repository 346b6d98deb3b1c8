"""A small backbone, and what tests of it look at."""

from torch.nn.modules.batchnorm import _BatchNorm

from damamba.models import DAMamba

MINI = dict(depths=(1, 2, 1, 1), dims=(16, 32, 48, 64), ffn_ratios=(2, 2, 3, 2))
SHORT = dict(depths=(1, 1), dims=(16, 32), ffn_ratios=(2, 2), layer_scale=(False, True))  # one of each kind of part


def mini(**options):
    return DAMamba(**{'arch': MINI, 'drop_path_rate': 0.0, **options})


def listing(module):
    """The names and shapes of the state dict, as the lists of the published weights write them."""
    return sorted(f'{n}\t{"x".join(map(str, v.shape)) or "scalar"}' for n, v in module.state_dict().items())


def norms_of(module):
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


def statistics(module):
    return {name: value.clone() for name, value in module.named_buffers()}
