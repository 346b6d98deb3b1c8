"""Every way in which MMEngine reads weights leads through :mod:`damamba.checkpoint`."""

import logging

from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from damamba.checkpoint import CheckpointError, read

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
