"""Importing this registers DAMamba with MMDetection: ``custom_imports = dict(imports=['damamba.register'])``.

It also has torchvision stand in for mmcv's operators where none are compiled, and makes every checkpoint that MMEngine
reads go through :mod:`damamba.checkpoint`.
"""

import contextlib
import io
import sys

from damamba import mmcv_ops

mmcv_ops.install()  # before mmdet, which imports mmcv.ops
try:
    with contextlib.redirect_stdout(io.StringIO()):  # where it prints that OneDL is not installed, twice
        import mmdet.datasets
        import mmdet.models  # noqa: F401
except ImportError as error:
    doctor = f'{sys.executable} -m damamba doctor'
    raise ImportError(f'MMDetection does not load ({error}): `{doctor}` names the command that mends it') from error

from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TASK_UTILS  # noqa: E402
from mmengine.registry import (  # noqa: E402
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    RUNNERS,
    VISBACKENDS,
)

from damamba.datasets.armbench import ARMBenchDataset  # noqa: E402
from damamba.datasets.named import NamedCocoDataset  # noqa: E402
from damamba.detection import (  # noqa: E402
    ChunkedMaskFormerFusionHead,
    ChunkedMaskHead,
    Float32BBoxCoder,
    Float32RoIExtractor,
    Float32RPNHead,
)
from damamba.engine.amp import Bfloat16OptimWrapper  # noqa: E402
from damamba.engine.hooks import DrawingHook, FuseConvBNHook  # noqa: E402
from damamba.engine.layer_decay import LayerDecay  # noqa: E402
from damamba.engine.loading import forward_logs, use_safe_loading  # noqa: E402
from damamba.engine.progress import ProgressHook  # noqa: E402
from damamba.engine.runner import DAMambaRunner  # noqa: E402
from damamba.engine.saving import DurableCheckpointHook  # noqa: E402
from damamba.engine.tensorboard import tensorboard_if_installed  # noqa: E402
from damamba.engine.tta import InstanceTTAModel  # noqa: E402
from damamba.engine.warm_up import WarmUp  # noqa: E402
from damamba.evaluation.metric import CocoInstanceMetric  # noqa: E402
from damamba.models import ARCHS, DAMamba  # noqa: E402
from damamba.torchvision_detection import (  # noqa: E402
    RoundedAnchorGenerator,
    TorchvisionBBoxHead,
    TorchvisionMaskHead,
    TorchvisionPreprocessor,
    TorchvisionRPNHead,
)


def _variant(arch: str):
    def build(**kwargs) -> DAMamba:
        return DAMamba(arch=arch, **kwargs)

    build.__name__ = f'DAMamba_{arch}'  # as published configs say
    return build


MODELS.register_module(module=DAMamba)
for _arch in ARCHS:
    MODELS.register_module(module=_variant(_arch), name=f'DAMamba_{_arch}')
MODELS.register_module(module=Float32RoIExtractor)
MODELS.register_module(module=Float32RPNHead)
MODELS.register_module(module=ChunkedMaskHead)
MODELS.register_module(module=ChunkedMaskFormerFusionHead)
MODELS.register_module(module=InstanceTTAModel)
MODELS.register_module(module=TorchvisionBBoxHead)
MODELS.register_module(module=TorchvisionMaskHead)
MODELS.register_module(module=TorchvisionPreprocessor)
MODELS.register_module(module=TorchvisionRPNHead)
TASK_UTILS.register_module(module=Float32BBoxCoder)
TASK_UTILS.register_module(module=RoundedAnchorGenerator)
DATASETS.register_module(module=NamedCocoDataset)
DATASETS.register_module(module=ARMBenchDataset)
HOOKS.register_module(module=DrawingHook)
HOOKS.register_module(module=DurableCheckpointHook)
HOOKS.register_module(module=FuseConvBNHook)
HOOKS.register_module(module=ProgressHook)
METRICS.register_module(module=CocoInstanceMetric)
OPTIM_WRAPPERS.register_module(module=Bfloat16OptimWrapper)
OPTIM_WRAPPER_CONSTRUCTORS.register_module(module=LayerDecay)
PARAM_SCHEDULERS.register_module(module=WarmUp)
RUNNERS.register_module(module=DAMambaRunner)
VISBACKENDS.register_module(module=tensorboard_if_installed, name='TensorboardIfInstalled')

use_safe_loading()
forward_logs()
