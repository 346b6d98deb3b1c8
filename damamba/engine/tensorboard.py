"""TensorBoard where it is installed: what a config can name on every machine."""

import importlib
import warnings

from mmengine.visualization import TensorboardVisBackend
from mmengine.visualization.vis_backend import BaseVisBackend


class NoVisBackend(BaseVisBackend):
    """Writes nothing."""

    experiment = None

    def _init_env(self) -> None:
        pass


def tensorboard_if_installed(save_dir: str) -> BaseVisBackend:
    """MMEngine's backend for TensorBoard, or one that writes nothing where TensorBoard does not load.

    Args:
        save_dir: where event files go.
    """
    try:
        importlib.import_module('torch.utils.tensorboard')
    except Exception as error:  # what is optional must not end a training, and each of its packages has its own errors
        if getattr(error, 'name', None) != 'tensorboard':  # that one is not installed
            warnings.warn(f'TensorBoard does not load, and gets nothing: {error}', stacklevel=2)
        return NoVisBackend(save_dir)
    return TensorboardVisBackend(save_dir)
