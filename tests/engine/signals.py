"""A hook for configs of tests: it sends signals to its own process at a known moment."""

import os
import signal
import time

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SignalHook(Hook):
    """Send a signal before a stage, which is a method of hooks, at its n-th call from 0 on; then wait.

    Args:
        wait_s: how many seconds; ``until`` there is this file, if that comes first.
        rank: which of several processes does so, and ``start``, how often torchrun has started it before.
        to_parent: the signal is for the process that has started this one.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        stage: str,
        at: int = 0,
        name: str = 'SIGTERM',
        wait_s: float = 0,
        rank: int = 0,
        start: int = 0,
        to_parent: bool = False,
        until: str | None = None,
    ) -> None:
        self.place, self.to_parent, self.until = (rank, start), to_parent, until
        self.at, self.signum, self.wait_s, self.calls = at, signal.Signals[name], wait_s, -1
        setattr(self, stage, self._call)

    def _call(self, runner, *args, **kwargs) -> None:
        self.calls += 1
        place = runner.rank, int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0))
        if self.calls == self.at and place == self.place:
            print('the signal is sent', flush=True)
            os.kill(os.getppid() if self.to_parent else os.getpid(), self.signum)
            end = time.monotonic() + self.wait_s
            while time.monotonic() < end and not (self.until and os.path.exists(self.until)):
                time.sleep(0.05)
