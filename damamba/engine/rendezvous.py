"""Where the machines of a training meet: a store that the first one serves, and torch's rendezvous (c10d) in it."""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import DistError, Store, TCPStore
from torch.distributed.elastic.rendezvous import RendezvousHandler
from torch.distributed.elastic.rendezvous.api import RendezvousClosedError, RendezvousError, RendezvousGracefulExitError
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

PORT = 29500
LAST_CALL_S = 30.0  # for machines that may come, once there are as many as are needed
LOOK_S = 1.0  # between two looks whether the first machine listens


class LaunchError(RuntimeError):
    """Machines that do not meet; the text says where, and what to check."""


@dataclass
class Place:
    """Where this machine is among the others.

    Args:
        fewest: machines that are needed.
        most: machines that may come; more than ``fewest`` if some may leave and return.
        rank: of this machine; the first one is 0, and serves the store.
        host: of the first machine.
        port: of the first machine; 0 for any that is free.
        timeout_s: how long to wait for the others.
    """

    fewest: int = 1
    most: int = 1
    rank: int = 0
    host: str = '127.0.0.1'
    port: int = 0
    timeout_s: float = 900.0

    @property
    def is_alone(self) -> bool:
        return self.most == 1


def place_of(environ: Mapping[str, str]) -> Place:
    """Read NNODES, NODE_RANK, MASTER_ADDR, PORT or MASTER_PORT, and RDZV_TIMEOUT.

    Raises:
        LaunchError: they do not fit each other.
    """
    fewest, _, most = environ.get('NNODES', '1').partition(':')
    counts = {'least': fewest, 'most': most or fewest}
    fewest, most = (number_of(counts, name, 1, 'NNODES') for name in ('least', 'most'))
    rank, timeout_s = number_of(environ, 'NODE_RANK', 0), number_of(environ, 'RDZV_TIMEOUT', 900)
    port = number_of(environ, 'PORT' if 'PORT' in environ else 'MASTER_PORT', 0 if most == 1 else PORT)
    if not 1 <= fewest <= most or rank >= most or port > 65535 or timeout_s < 1:
        raise LaunchError(
            f'NNODES={environ.get("NNODES", 1)} NODE_RANK={rank} PORT={port} RDZV_TIMEOUT={timeout_s}: '
            'NODE_RANK counts from 0 to NNODES - 1, ports end at 65535, and the timeout is 1 second or more'
        )
    if most > 1 and 'MASTER_ADDR' not in environ:
        raise LaunchError(f'NNODES={environ["NNODES"]} needs MASTER_ADDR, the address of the machine with NODE_RANK=0')
    return Place(fewest, most, rank, environ.get('MASTER_ADDR', '127.0.0.1'), port, timeout_s)


def number_of(environ: Mapping[str, str], name: str, default: int, called: str | None = None) -> int:
    """A whole number of the environment; LaunchError for anything else."""
    text = environ.get(name, str(default))
    if not text.isdecimal():
        raise LaunchError(f'{called or name} must be a whole number, got {text!r}')
    return int(text)


@dataclass
class Met:
    """Machines that start together: what each of them needs to start its processes."""

    store: Store
    rank: int
    machines: int
    host: str
    port: int  # where the processes meet
    starts: int  # of the group before this one
    restarts_left: int


class Handler(DynamicRendezvousHandler):
    """Torch's own, whose store for the processes would be unknown to a machine that comes later: ours serves them."""

    use_agent_store = True


class Meeting:
    """Of the agents of all machines, before each start of their processes."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.endpoint = f'{place.host}:{place.port}'
        self._starts = 0
        self._served: Store | None = None  # by this machine, for the processes
        self._address = place.host  # of this machine, as the first one sees it

    def open(self) -> RendezvousHandler:
        """Serve the store, or find it.

        Raises:
            LaunchError: it can't be served, or is not found in time.
        """
        place = self.place
        self._store = self._serve() if place.rank == 0 else self._find()
        name = f'here/{place.rank}'
        self._store.set(name, socket.gethostname())
        run = 'alone' if place.is_alone else 'machines'
        join, last_call = timedelta(seconds=place.timeout_s), timedelta(seconds=min(LAST_CALL_S, place.timeout_s / 2))
        timeout = RendezvousTimeout(join=join, last_call=last_call)
        backend = C10dRendezvousBackend(self._store, run)
        counts = (place.fewest, place.most)
        os.environ['TORCH_DISABLE_SHARE_RDZV_TCP_STORE'] = '1'  # which serves a store of its own
        return Handler.from_backend(run, self._store, backend, *counts, self._address, timeout)

    def _serve(self) -> Store:
        host, port, timeout_s = self.place.host, self.place.port, self.place.timeout_s
        _refuse_taken(port)
        try:
            return self._within(
                lambda: TCPStore(host, port, is_master=True, wait_for_workers=False), min(timeout_s, 60)
            )
        except (DistError, TimeoutError) as error:
            raise LaunchError(
                f'this machine has NODE_RANK=0, and can not listen at {self.endpoint} ({_first_line(error)}): '
                'MASTER_ADDR must be an address of this very machine'
            ) from error

    def _find(self) -> Store:
        """Look for the store until it is there: the machine that serves it may be late."""
        host, port, timeout_s = self.place.host, self.place.port, self.place.timeout_s
        end, is_told = time.monotonic() + timeout_s, False
        while True:
            try:
                with socket.create_connection((host, port), timeout=min(timeout_s, 10)) as found:
                    self._address = found.getsockname()[0]
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise LaunchError(self._unreachable(error)) from error
                if not is_told:
                    sys.stderr.write(f'waiting for {self.endpoint}, {timeout_s:g} s at most\n')
                    is_told = True
                time.sleep(LOOK_S)
        left = max(end - time.monotonic(), 5)
        timeout = timedelta(seconds=left)
        try:
            return self._within(lambda: TCPStore(host, port, is_master=False, timeout=timeout), left + 5)
        except (DistError, TimeoutError) as error:
            raise LaunchError(
                f'{self.endpoint} answers, but not as the first machine of a training does ({_first_line(error)}): '
                'is PORT that of another program?'
            ) from error

    def _unreachable(self, error: OSError) -> str:
        return (
            f'{self.endpoint} was not reached within {self.place.timeout_s:g} s ({error}): does the machine with '
            'NODE_RANK=0 run, are MASTER_ADDR and PORT the same everywhere, and does a firewall let this port through? '
            'RDZV_TIMEOUT sets the seconds to wait'
        )

    def _within(self, make: Callable[[], Store], timeout_s: float) -> Store:
        """Make a store in a thread: what does not answer holds up torch for longer than its timeout."""
        made: list[Store | Exception] = []

        def work() -> None:
            try:
                made.append(make())
            except (DistError, RuntimeError, ValueError) as error:
                made.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(timeout_s)
        if not made:
            raise TimeoutError(f'no answer in {timeout_s:.0f} s')
        if isinstance(made[0], Exception):
            raise TimeoutError(made[0]) from made[0]
        return made[0]

    def meet(self, handler: RendezvousHandler, restarts_left: int) -> Met:
        """Wait for the other machines, and agree with them.

        Raises:
            LaunchError: too few come in time, or two have the same NODE_RANK.
        """
        try:
            info = handler.next_rendezvous()
        except DistError as error:
            raise LaunchError(f'{self.endpoint} was lost: has the machine with NODE_RANK=0 ended?') from error
        except (RendezvousGracefulExitError, RendezvousClosedError) as error:
            raise LaunchError('another machine of the training has ended') from error
        except RendezvousError as error:
            raise LaunchError(self._too_few(error)) from error
        place, store = self.place, info.store
        own = dict(rank=place.rank, host=socket.gethostname(), starts=self._starts, left=restarts_left)
        store.set(f'met/{info.rank}', json.dumps(own))
        all_ = [json.loads(store.get(f'met/{rank}')) for rank in range(info.world_size)]
        ranks = sorted(it['rank'] for it in all_)
        if len(set(ranks)) < len(ranks):
            named = ', '.join(f'{it["rank"]} on {it["host"]}' for it in all_)
            raise LaunchError(f'two machines have the same NODE_RANK: {named}')
        starts = max(it['starts'] for it in all_)
        self._starts = starts + 1
        port = self._serve_processes(store, ranks.index(place.rank))
        left = min(it['left'] for it in all_)
        return Met(store, ranks.index(place.rank), len(all_), place.host, port, starts, left)

    def is_over(self, handler: RendezvousHandler) -> bool:
        """Whether another machine has ended: it has said so, or the first one no longer answers."""
        try:
            return handler.is_closed()
        except (RendezvousError, DistError):
            return True

    def _serve_processes(self, store: Store, rank: int) -> int:
        """The port of a store for the processes, a new one at each start: the old one has what no longer holds."""
        if rank == 0:
            self._served = TCPStore(self.place.host, 0, is_master=True, wait_for_workers=False)
            store.set('port', str(self._served.port))
        return int(store.get('port'))

    def _too_few(self, error: RendezvousError) -> str:
        missing = [rank for rank in range(self.place.fewest) if not self._store.check([f'here/{rank}'])]
        if not missing:
            return f'the machines do not meet at {self.endpoint} ({_first_line(error)})'
        names = ', '.join(f'NODE_RANK={rank}' for rank in missing)
        return (
            f'{names} did not come to {self.endpoint} within {self.place.timeout_s:g} s: was it started, and with the '
            'same NNODES, MASTER_ADDR and PORT? RDZV_TIMEOUT sets the seconds to wait'
        )


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('', port))
        except OSError as error:
            raise LaunchError(f'port {port} of this machine is taken ({error.strerror}): PORT sets another') from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
