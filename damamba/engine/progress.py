"""One live line for a training on a terminal."""

import atexit
import logging
import sys

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressHook(Hook):
    """Show epoch, iteration, time left, loss and mAP as one line at the bottom of a terminal.

    The log's lines of single iterations go to the log file alone then. Where the output is no terminal, nothing
    changes.
    """

    priority = 'VERY_LOW'  # after the loss has been logged

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.loss = self.scores = ''

    def before_train(self, runner) -> None:
        if not (is_main_process() and sys.stdout.isatty()):
            return
        columns = (BarColumn(20), MofNCompleteColumn(), 'left', TimeRemainingColumn(), '{task.fields[figures]}')
        self.bar = Progress(TextColumn('[bold]{task.description}'), *columns, console=Console())
        self.task = self.bar.add_task('training', total=runner.max_iters, completed=runner.iter, figures='')
        self.bar.start()
        atexit.register(self.bar.stop)  # also when the training fails: it gives the cursor back
        self._lead_logs(runner.logger)

    def _lead_logs(self, logger: MMLogger) -> None:
        """Send the log's lines above the bar, without those of single iterations."""
        self.streams = {h: h.stream for h in logger.handlers if type(h) is logging.StreamHandler}
        for handler in self.streams:
            handler.setStream(sys.stdout)
            handler.addFilter(_is_no_iteration)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.bar:
            self.loss = f'loss {runner.message_hub.get_scalar("train/loss").mean(10):.3f}'
            self._show(f'epoch {runner.epoch + 1}/{runner.max_epochs}', completed=runner.iter + 1)

    def before_val_epoch(self, runner) -> None:
        if self.bar:
            self._show(f'epoch {runner.epoch}/{runner.max_epochs}, validating')

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        if self.bar:
            names = {'coco/bbox_mAP': 'box mAP', 'coco/segm_mAP': 'mask mAP'}
            found = {label: metrics[name] for name, label in names.items() if name in (metrics or {})}
            self.scores = ''.join(f'  {label} {value:.3f}' for label, value in found.items())
            self._show(f'epoch {runner.epoch}/{runner.max_epochs}')

    def _show(self, description: str, **progress) -> None:
        self.bar.update(self.task, description=description, figures=self.loss + self.scores, **progress)

    def after_train(self, runner) -> None:
        if self.bar:
            self.bar.stop()
            for handler, stream in self.streams.items():
                handler.setStream(stream)
                handler.removeFilter(_is_no_iteration)
            self.bar = None


def _is_no_iteration(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(('Epoch(', 'Iter('))
