"""A hook that says what a training is trained on, saves where a signal would have it saved, and kills the process."""

import json
import os
import signal
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class Watch(Hook):
    """Write a line a step: its number, the ids of the pictures, the loss.

    Args:
        save: the step after which the checkpoint hook is asked to save.
        kill: the step after which the process is killed.
    """

    priority = 'LOWEST'

    def __init__(self, save: int | None = None, kill: int | None = None) -> None:
        self.save, self.kill = save, kill

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        step = runner.iter + 1
        row = [step, [sample.img_id for sample in data_batch['data_samples']], outputs['loss'].item()]
        with Path(runner.work_dir, f'seen-{runner.rank}.jsonl').open('a') as file:
            file.write(json.dumps(row) + '\n')
        if step == self.save:
            next(hook for hook in runner.hooks if hasattr(hook, 'save_now')).save_now(runner)
        if step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
