"""MMEngine's runner, with our configs' promises: where it runs, which weights it reads, and that they fit."""

import copy
import logging
import re

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import EarlyStoppingHook, EMAHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseModule, revert_sync_batchnorm
from mmengine.runner import BaseLoop, Priority, Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn
from torch.utils.data import DataLoader

from damamba.checkpoint import state_dict_of
from damamba.engine.config import prepare
from damamba.engine.examples import ExamplesHook
from damamba.engine.finite import MAX_SKIPPED_STEPS, SkipNonFiniteHook
from damamba.engine.hooks import CheckClassesHook, GroundTruthHook, SyncStatisticsHook, bare
from damamba.engine.launch import join
from damamba.engine.loading import fill
from damamba.engine.preemption import Interrupted, PreemptionHook, shield
from damamba.engine.records import MetricsFileHook, RunFileHook, claim_folder
from damamba.engine.replay import ReplayHook, make_replayable
from damamba.engine.resuming import ResumeHook, adopt_seed, check_training, resume, settle_start, take_trained_weights
from damamba.engine.saving import DurableCheckpointHook, durable
from damamba.engine.schedule import Unscheduled
from damamba.engine.sound_data import SoundDataHook
from damamba.engine.speed import TestSpeedHook
from damamba.engine.warm_up import StartHook
from damamba.evaluation.building import explained
from damamba.models import DAMamba

SCRATCH = (
    'Training from scratch: model.backbone.pretrained is None. The published results start from ImageNet-1K weights; '
    'the config says where they are.'
)
IDLE = ('paramwise_options', 'Resumed iteration number is not divisible')  # what log lines that say nothing begin with


class DAMambaRunner(Runner):
    """Builds from a config of ours or of MMDetection 3.x, on the CPU or on GPUs, on one process or many."""

    proof: dict | None = None  # of the evaluation that a test does, where it has been proved; goes into metrics.json
    unscheduled: Unscheduled | None = None  # the optimizers' settings before schedulers change them
    _content: dict | None = None  # of the checkpoint to resume, until the model has it
    _needs_all = False  # whether a checkpoint has to fill the whole model: to test or to resume

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'DAMambaRunner':
        """Prepare the config (see :func:`damamba.engine.config.prepare`) and build."""
        cfg = copy.deepcopy(cfg)
        notes = prepare(cfg)
        runner = super().from_cfg(cfg)
        for note in notes:
            runner.logger.info(note)
        return runner

    def setup_env(self, env_cfg: dict) -> None:
        join(self._launcher, env_cfg.get('dist_cfg', {}).get('timeout'))
        super().setup_env(env_cfg)
        name = [claim_folder(self.work_dir) if is_main_process() else None]
        broadcast_object_list(name)
        (self._timestamp,) = name

    def build_dataloader(self, dataloader: DataLoader | dict, *args, **kwargs) -> DataLoader:
        with explained(dataloader):
            loader = shield(Runner.build_dataloader(dataloader, *args, **kwargs))
        splits = {'train': self._train_dataloader, 'val': self._val_dataloader}
        split = next((split for split, settings in splits.items() if settings is dataloader), 'test')
        self.sound_data.secure(self, loader.dataset, split)  # an iteration-based loop starts its workers at once
        return loader

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(_is_news)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if isinstance(getattr(bare(model), 'backbone', None), DAMamba):
            bare(model).backbone.to(memory_format=torch.channels_last)  # what its maps lie in
        if self.distributed and not torch.cuda.is_available():
            model = revert_sync_batchnorm(model)
            unused = self.cfg.get('find_unused_parameters', False)
            cpu = dict(device_ids=None, broadcast_buffers=False, find_unused_parameters=unused)
            model_wrapper_cfg = {**(model_wrapper_cfg or {}), **cpu}
        return super().wrap_model(model_wrapper_cfg, model)

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None) -> None:
        super().register_hooks(default_hooks, custom_hooks)
        # Here, since a config's own custom_hooks replace its base's.
        speed = TestSpeedHook()
        left = (RunFileHook(), MetricsFileHook(speed), ExamplesHook())  # the figures first
        self.sound_data = SoundDataHook()
        self.finite = SkipNonFiniteHook(self.cfg.get('max_skipped_steps', MAX_SKIPPED_STEPS))
        checks = (CheckClassesHook(), GroundTruthHook(), self.sound_data, self.finite)
        begun = (StartHook(), ReplayHook(), ResumeHook())
        for hook in (*checks, *begun, SyncStatisticsHook(), speed, *left):
            self.register_hook(hook)
        self._preemption = PreemptionHook()
        self.register_hook(self._preemption)

    def register_hook(self, hook: Hook | dict, priority: str | int | Priority | None = None) -> None:
        super().register_hook(durable(hook), priority)

    def train(self) -> nn.Module:
        settle_start(self)
        if self._resume:  # here, since the order of the data follows from the seed
            self._content = self._read(self._load_from)
            adopt_seed(self, self._content)
        try:
            return super().train()
        except BaseException as error:
            for hook in self.hooks:
                if isinstance(hook, DurableCheckpointHook):
                    hook.close(self, error)
            if not isinstance(error, Interrupted):  # which has said it
                self.sound_data.end(self)
            raise
        finally:
            self._preemption.listener.stop()

    def test(self) -> dict:
        self._needs_all = True
        self._leave_out_hooks_of_trainings()
        return super().test()

    def val(self) -> dict:
        self._needs_all = True
        self._leave_out_hooks_of_trainings()
        return super().val()

    def _leave_out_hooks_of_trainings(self) -> None:
        """Before a test alone: a checkpoint has the averaged weights in their place already.

        EMAHook would exchange them with a copy of the model, which fits neither a folded one nor one that is tested
        with augmentation, and EarlyStoppingHook would build the loop of the training.
        """
        if not isinstance(self._train_loop, BaseLoop):
            self._hooks = [it for it in self._hooks if not isinstance(it, EMAHook | EarlyStoppingHook)]

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        if isinstance(loop, BaseLoop):
            return loop
        loop = super().build_train_loop(loop)
        make_replayable(loop, self.seed)
        return loop

    def build_param_scheduler(self, scheduler: list | dict) -> list | dict:
        self.unscheduled = Unscheduled(self.optim_wrapper, scheduler)
        return super().build_param_scheduler(scheduler)

    def resume(self, filename: str) -> None:
        """Go on from a checkpoint as :mod:`damamba.engine.resuming` says; MMEngine's own way is not taken."""
        self._needs_all = True
        resume(self, self.load_checkpoint(filename), filename)

    def load_checkpoint(
        self,
        filename: str,
        map_location='cpu',
        strict: bool = False,
        revise_keys: list = [],  # noqa: B006  the base class's signature; never modified
    ) -> dict:
        """Read a checkpoint, hold it against the model, fill the model.

        Testing and resuming need every tensor. ``load_from`` needs the whole backbone, and names what it leaves out.

        Raises:
            CheckpointError: the file is unusable, or does not hold what is needed.
        """
        content, self._content = self._content or self._read(filename, map_location), None
        state = state_dict_of(content)[0]
        for pattern, replacement in revise_keys:
            state = {re.sub(pattern, replacement, name): value for name, value in state.items()}
        content['state_dict'] = state
        self.call_hook('after_load_checkpoint', checkpoint=content)
        if self._resume:
            take_trained_weights(self, content, filename)
        self._fill(filename, content['state_dict'], self._needs_all or strict)
        self._has_loaded = True
        return content

    def _read(self, filename: str, map_location='cpu') -> dict:
        content = CheckpointLoader.load_checkpoint(filename, map_location, self.logger)
        if self._resume:
            check_training(content, filename)
        return content

    def _fill(self, filename: str, state: dict, needs_all: bool) -> None:
        result = fill(bare(self.model), state, filename, needs_all)
        level = self.logger.info if result.complete and not result.unexpected else self.logger.warning
        level('Loaded %s: %s', filename, result)
        if result.left_out:
            self.logger.warning('Left out, and to be learned anew (other classes?): %s', ', '.join(result.left_out))

    def _init_model_weights(self) -> None:
        """Draw or read the weights that a new training starts from; a resumed one has its own."""
        if self._resume:
            return
        if not self._load_from and getattr(getattr(bare(self.model), 'backbone', None), 'pretrained', '') is None:
            self.logger.warning(SCRATCH)
        if self._load_from:
            _spare_backbone(bare(self.model))
        super()._init_model_weights()


def _spare_backbone(model: nn.Module) -> None:
    """Leave out a backbone's own weights, perhaps a download: ``load_from`` has to fill the whole of it."""
    backbone = getattr(model, 'backbone', None)
    if isinstance(backbone, BaseModule):
        backbone.is_init = True


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what is no news: options of parameters, constants that are not trained, gradients that are not lost.

    MMEngine has hundreds of lines of these. It drops a warning whose template it has seen, whatever was filled in: so
    the text takes the template's place.
    """
    record.msg, record.args = record.getMessage(), None
    return not record.msg.startswith(IDLE) and 'conv_constant is skipped' not in record.msg
