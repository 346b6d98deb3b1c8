"""What may go on while training does: the writing of a copy."""

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from unittest import mock

from mmengine.runner import runner as mmengine_runner

from damamba.checkpoint.writing import tensors_in


class Writer:
    """One save at a time in the background, for which the end of the process waits."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix='checkpoint')
        self._jobs: list[Future] = []

    def submit(self, work: Callable[[], None]) -> None:
        """Do this after all that was submitted before."""
        self._jobs.append(self._pool.submit(work))

    def wait(self) -> None:
        """Wait until all is done, and raise the first error, once."""
        error = self.error()
        if error:
            raise error

    def error(self) -> BaseException | None:
        """Wait until all is done; the first error, once."""
        jobs, self._jobs = self._jobs, []
        return next(filter(None, [job.exception() for job in jobs]), None)

    def raise_error(self) -> None:
        """Raise the error of what has ended, without waiting for the rest."""
        if self._jobs and all(job.done() for job in self._jobs):
            self.wait()


def content_of(runner, meta: dict, **options: bool) -> dict | None:
    """What MMEngine would save, hooks included, in host memory of its own; None on all processes but the first."""
    kept: list[dict] = []
    keep = mock.patch.object(mmengine_runner, 'save_checkpoint', lambda content, *_, **__: kept.append(content))
    with keep:
        runner.save_checkpoint(runner.work_dir, 'kept', meta=meta, **options)
    return host_copy(kept[0]) if kept else None


def host_copy(content: dict) -> dict:
    """Copy a checkpoint into host memory that nothing else writes into; what shares memory goes on to share it."""
    copied = {id(it): it.detach().cpu() for it in tensors_in(content) if it.device.type != 'cpu'}
    return copy.deepcopy(content, copied)
