"""What the scripts start: torchrun's agent, which passes signals on, and waits until its processes have saved.

    python -m damamba.engine.torchrun PROCESSES SCRIPT [arguments of the script]

torchrun itself kills its processes 30 seconds after a signal, however long a step takes; it restarts a group that was
asked to end; and it waits for other machines without a word. The agent and its rendezvous are torch's own.

The environment says the rest: NNODES (2, or 1:4), NODE_RANK, MASTER_ADDR, PORT or MASTER_PORT, MAX_RESTARTS, GRACE and
RDZV_TIMEOUT, the last two in seconds.
"""

import os
import signal
import sys
import time
from contextlib import suppress

from torch.distributed import DistError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous.api import RendezvousError

from damamba.engine.rendezvous import LaunchError, Meeting, Place, number_of, place_of

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Agent(LocalElasticAgent):
    """The processes of this machine.

    Args:
        spec: what they run.
        meeting: of all machines, before each start.
        grace_s: how long they may take to end by themselves once they were asked to.
    """

    def __init__(self, spec: WorkerSpec, meeting: Meeting, grace_s: float) -> None:
        super().__init__(spec, DefaultLogsSpecs())
        self.meeting, self.grace_s = meeting, grace_s
        self.heard: list[int] = []  # signals
        self._passed_on = 0
        self._deadline = float('inf')

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        """Meet the agents of the other machines; how often the group was started is counted by all of them."""
        _listen(signal.SIG_DFL)  # nothing has to be saved
        spec = worker_group.spec
        met = self.meeting.meet(spec.rdzv_handler, self._remaining_restarts)
        self._store, self._remaining_restarts = met.store, met.restarts_left
        spec.max_restarts = met.starts + met.restarts_left  # the difference is what torch tells the processes
        worker_group.workers = self._assign_worker_ranks(met.store, met.rank, met.machines, spec)
        worker_group.store, worker_group.group_rank, worker_group.group_world_size = met.store, met.rank, met.machines
        worker_group.master_addr, worker_group.master_port = met.host, met.port

    def _start_workers(self, worker_group: WorkerGroup) -> dict:
        _listen(lambda signum, frame: self.heard.append(signum))
        return super()._start_workers(worker_group)

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        self._pass_on()
        result = super()._monitor_workers(worker_group)
        if result.state == WorkerState.HEALTHY and self.meeting.is_over(worker_group.spec.rdzv_handler):
            self._pcontext.close()  # another machine has ended, and our processes might wait for it forever
            self._remaining_restarts = 0
            result = super()._monitor_workers(worker_group)
        if result.state != WorkerState.HEALTHY and not self._may_restart(result):
            self._remaining_restarts = 0
        return result

    def _exit_barrier(self) -> None:
        _listen(signal.SIG_DFL)
        super()._exit_barrier()

    def _pass_on(self) -> None:
        for signum in self.heard[self._passed_on :]:
            self._deadline = min(self._deadline, time.monotonic() + self.grace_s)
            for pid in self._pcontext.pids().values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signum)
        self._passed_on = len(self.heard)
        if self.heard.count(signal.SIGINT) > 1 or time.monotonic() > self._deadline:
            self._pcontext.close(signal.SIGKILL)

    def _may_restart(self, result: RunResult) -> bool:
        """Not after a signal, nor after a mistake that would be made again."""
        return not (self.heard or ended_by(result.failures) or any(map(_is_mistake, result.failures.values())))


def _listen(handler) -> None:
    for signum in ENDING:
        if signal.getsignal(signum) != signal.SIG_IGN:
            signal.signal(signum, handler)


def _is_mistake(failure: ProcessFailure) -> bool:
    """Whether a process has said in a sentence what the user can mend, or how it is used."""
    return failure.exitcode == 2 or (failure.exitcode == 1 and os.path.isfile(failure.error_file))


def ended_by(failures: dict[int, ProcessFailure]) -> int | None:
    """The signal that has ended a group: a process has ended as asked, or all of them died of it."""
    codes = [failure.exitcode for failure in failures.values()]
    asked = [code - 128 for code in codes if code - 128 in ENDING]
    died = [-code for code in codes if -code in ENDING]
    return asked[0] if asked else died[0] if died and len(died) == len(codes) else None


def launch(processes: int, command: list[str], place: Place, max_restarts: int, grace_s: float) -> int:
    """Run a command in processes of this machine, together with those of others; return the exit status.

    Raises:
        LaunchError: the machines do not meet.
    """
    meeting = Meeting(place)
    handler = meeting.open()
    entry = dict(entrypoint=sys.executable, args=('-u', *command))
    spec = WorkerSpec('default', processes, handler, max_restarts=max_restarts, **entry)
    agent = Agent(spec, meeting, grace_s)
    try:
        result = agent.run()
    finally:
        with suppress(RendezvousError, DistError):
            handler.shutdown()
    return _status(command, result, agent.heard)


def _status(command: list[str], result: RunResult, heard: list[int]) -> int:
    if not result.is_failed():
        return 0
    signum = ended_by(result.failures)
    if heard and not any(map(_is_mistake, result.failures.values())):
        signum = signum or heard[0]
    if signum:
        sys.stderr.write(f'{command[0]} was ended by {signal.Signals(signum).name}\n')
        return 128 + signum
    sys.stderr.write(str(ChildFailedError(command[0], result.failures)))
    return 1


def main() -> None:
    """Read the command line and the environment; run."""
    if len(sys.argv) < 3 or not sys.argv[1].isdecimal() or int(sys.argv[1]) < 1:
        sys.exit('usage: python -m damamba.engine.torchrun PROCESSES SCRIPT [arguments]; PROCESSES is 1 or more')
    processes, command = int(sys.argv[1]), sys.argv[2:]
    os.environ.setdefault('DAMAMBA_THREADS', os.environ.get('OMP_NUM_THREADS', 'auto'))  # unless the user has decided
    os.environ.setdefault('DAMAMBA_STARTED', str(time.time()))  # checkpoints from then on are of this training
    if processes > 1:
        os.environ.setdefault('OMP_NUM_THREADS', '1')  # as torchrun does
    os.environ['TORCHELASTIC_SIGNALS_TO_HANDLE'] = 'SIGHUP,SIGQUIT'  # the others are ours
    try:
        place = place_of(os.environ)
        os.environ['PORT'] = str(place.port)  # for the command in the records of a run
        restarts, grace_s = number_of(os.environ, 'MAX_RESTARTS', 0), number_of(os.environ, 'GRACE', 600)
        sys.exit(launch(processes, command, place, restarts, grace_s))
    except LaunchError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
