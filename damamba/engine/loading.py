"""Every way in which MMEngine reads weights leads through :mod:`damamba.checkpoint`; how they fill a model."""

import logging

from mmcv.cnn import fuse_conv_bn
from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from damamba.checkpoint import CheckpointError, Match, check_finite, describe, match, read
from damamba.models import fuse

CLASSES = 'roi_head.bbox_head.fc_cls.weight'  # one row for each, and one for none
FAR_STORES = ('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')


def load_from_path_or_url(filename: str, map_location=None) -> dict:
    """Read a local file, or ``http://`` and ``https://``."""
    return read(filename, map_location)


def load_from_model_zoo(filename: str, map_location=None) -> dict:
    """Read what a name of OpenMMLab's or torchvision's model zoo stands for."""
    scheme, name = filename.split('://', 1)
    tables = {
        'torchvision': mmengine_checkpoint.get_torchvision_models,
        'modelzoo': mmengine_checkpoint.get_torchvision_models,
        'open-mmlab': mmengine_checkpoint.get_external_models,
        'openmmlab': mmengine_checkpoint.get_external_models,
        'mmcls': mmengine_checkpoint.get_mmcls_models,
    }
    urls = tables[scheme]()
    if name not in urls:
        raise CheckpointError(f'{filename} names no model of {scheme}; give a path or a URL')
    content = read(urls[name], map_location)
    return mmengine_checkpoint._process_mmcls_checkpoint(content) if scheme == 'mmcls' else content


def load_from_far_store(filename: str, map_location=None) -> dict:
    """Refuse: these stores are read by a loader that may run a checkpoint's code."""
    raise CheckpointError(f'{filename} can not be read from there: download the file and give its path')


def use_safe_loading() -> None:
    """Replace MMEngine's loaders, which load without ``weights_only`` when a file asks for it."""
    zoo = [f'{name}://' for name in ('torchvision', 'modelzoo', 'open-mmlab', 'openmmlab', 'mmcls')]
    CheckpointLoader.register_scheme(['', 'http://', 'https://'], load_from_path_or_url, force=True)
    CheckpointLoader.register_scheme(zoo, load_from_model_zoo, force=True)
    CheckpointLoader.register_scheme(list(FAR_STORES), load_from_far_store, force=True)


def fill(model: nn.Module, state: dict[str, Tensor], source: str, needs_all: bool) -> Match:
    """Load what of a state dict fits into a model.

    Args:
        needs_all: every tensor of the model has to be there, in its shape; else every one of its backbone.

    Raises:
        CheckpointError: it is not so, or weights are not finite; the text says what ``source`` holds, and what was
            wanted.
    """
    result = match(model, state)
    lacking = [*result.missing, *result.mismatched]
    if not result.filled or (lacking if needs_all else any(name.startswith('backbone.') for name in lacking)):
        raise CheckpointError(f'{source} holds {describe(state)}{_heads(state)}; {_wanted(model, state)}: {result}')
    filled = {name: state[name] for name in result.filled}
    check_finite(model, filled, source)
    model.load_state_dict(filled, strict=False)
    return result


def _wanted(model: nn.Module, state: dict) -> str:
    name = type(model).__name__
    wanted = f'wanted a {name} with {describe(model.state_dict())}{_heads(model.state_dict())}'
    if any(name.startswith('backbone.') for name in state):
        return wanted
    return f'{wanted} (weights of a backbone alone go into model.backbone.pretrained)'


def _heads(state: dict) -> str:
    """For how many classes a detector's heads are: two of one backbone may differ in nothing else."""
    scores = state.get(CLASSES)
    return '' if scores is None or not scores.ndim else f' with heads for {len(scores) - 1} classes'


def fuse_detector(model: nn.Module) -> nn.Module:
    """Fold the batch normalisation of a detector's DAMamba, and then of its other parts, in place."""
    return fuse_conv_bn(fuse(model))


class ForwardToMMEngine(logging.Handler):
    """Show what the library logs in the log of the run."""

    def emit(self, record: logging.LogRecord) -> None:
        print_log(record.getMessage(), logger='current', level=record.levelno)


def forward_logs() -> None:
    """Send the records of the ``damamba`` logger to MMEngine's current one, once."""
    ours = logging.getLogger('damamba')
    if not any(isinstance(handler, ForwardToMMEngine) for handler in ours.handlers):
        ours.addHandler(ForwardToMMEngine())
        ours.setLevel(logging.INFO)
        ours.propagate = False
