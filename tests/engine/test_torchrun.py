"""The agent that the scripts start, with small processes in place of trainings."""

import os
import re
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.shell import free_port
from tests.processes import Forks, Process

WORKER = Path(__file__).with_name('worker.py')


SETTINGS = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'MASTER_PORT', 'MAX_RESTARTS', 'GRACE', 'RDZV_TIMEOUT')


@dataclass
class Agent:
    """An agent, and the folder in which its workers leave what happens to them."""

    process: Process
    folder: Path

    def notes(self, rank: int) -> list[str]:
        path = self.folder / f'{rank}.txt'
        return path.read_text().splitlines() if path.exists() else []

    def pid(self, rank: int) -> int:
        """Of a worker, once it heeds signals."""
        path = self.folder / f'{rank}.pid'
        self.process.await_until(lambda: path.exists() and path.read_text())
        return int(path.read_text())

    def wait(self) -> int:
        return self.process.wait()

    def text(self) -> str:
        return self.process.text()


@pytest.fixture(scope='module')
def agents():
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTINGS:
            patch.delenv(name, raising=False)
        forks = Forks('damamba.engine.torchrun')
    yield forks
    forks.close()


@pytest.fixture
def start(agents, tmp_path):
    """Start an agent of two workers in a mode of theirs."""

    def begin(mode: str, *args, processes: int = 2, name: str = 'run', **settings) -> Agent:
        folder = tmp_path / name
        return Agent(agents.start(folder, processes, WORKER, folder, mode, *args, **settings), folder)

    return begin


def test_a_signal_is_passed_on_once_and_nothing_is_restarted(start):
    agents = {signum: start('save', name=signum.name, MAX_RESTARTS=2) for signum in (signal.SIGTERM, signal.SIGINT)}
    for signum, agent in agents.items():
        agent.pid(0), agent.pid(1)
        os.killpg(agent.process.pid, signum)  # as a terminal's Ctrl-C
    for signum, agent in agents.items():
        assert agent.wait() == 128 + signum, agent.text()
        for rank in (0, 1):
            assert agent.notes(rank) == ['start 0 of 2', f'saved after [{signum:d}]']


def test_a_signal_to_one_worker_ends_all(start):
    agent = start('save', MAX_RESTARTS=2)
    agent.pid(0)
    os.kill(agent.pid(1), signal.SIGTERM)
    assert agent.wait() == 128 + signal.SIGTERM, agent.text()
    assert agent.notes(0) == agent.notes(1) == ['start 0 of 2', f'saved after [{signal.SIGTERM:d}]']


def test_who_does_not_end_is_killed_after_the_grace_or_at_a_second_ctrl_c(start):
    late = start('deaf', name='late', GRACE=1)
    impatient = start('deaf', name='impatient')
    pids = [agent.pid(rank) for agent in (late, impatient) for rank in (0, 1)]
    os.kill(late.process.pid, signal.SIGUSR1)
    for _ in range(2):
        os.kill(impatient.process.pid, signal.SIGINT)
        time.sleep(0.3)
    assert late.wait() == 128 + signal.SIGUSR1, late.text()
    assert impatient.wait() == 128 + signal.SIGINT, impatient.text()
    assert not any(Path(f'/proc/{pid}').exists() for pid in pids)


def test_a_worker_that_dies_is_started_again_with_the_others(start):
    agent = start('die', MAX_RESTARTS=1)
    assert agent.wait() == 0, agent.text()
    assert agent.notes(0) == agent.notes(1) == ['start 0 of 2', 'start 1 of 2']


@pytest.mark.parametrize(('mode', 'starts'), [('crash', 2), ('mistake', 1)])
def test_a_mistake_is_not_made_twice(start, mode, starts):
    agent = start(mode, MAX_RESTARTS=1)
    assert agent.wait() == 1
    assert agent.notes(0) == [f'start {number} of 2' for number in range(starts)]
    assert mode == 'crash' or 'error: no such file' in '\n'.join(agent.text().splitlines()[-4:])


def test_a_taken_port_is_named_and_without_one_any_free_one_does(start):
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = start('end', name='given', PORT=port)
        several = start('end', name='several', NNODES=2, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        for agent in (given, several):
            assert agent.wait() == 1 and f'error: port {port} of this machine is taken' in agent.text()
    with socket.socket() as default:
        default.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        default.bind(('', 29500))
        default.listen()
        assert start('end', name='free').wait() == 0


def machines(port: int, *ranks: int, **settings) -> list[dict]:
    there = dict(NNODES=2, MASTER_ADDR='127.0.0.1', PORT=port, processes=1, **settings)
    return [dict(NODE_RANK=rank, **there) for rank in ranks]


def test_a_late_machine_is_awaited_and_ranks_follow_node_ranks(start):
    first, second = machines(free_port(), 0, 1, RDZV_TIMEOUT=60)
    early = start('save', MAX_RESTARTS=1, **second)
    early.process.await_text('waiting for')
    agents = [start('save', MAX_RESTARTS=1, **first), early]
    for rank, agent in enumerate(agents):
        assert os.getpgid(agent.pid(rank)) != agent.process.pid
    parents = [int(Path(f'/proc/{agents[0].pid(rank)}/stat').read_text().split()[3]) for rank in (0, 1)]
    assert parents == [agent.process.pid for agent in agents]
    for agent in agents:
        os.kill(agent.process.pid, signal.SIGTERM)
    for agent in agents:
        assert agent.wait() == 128 + signal.SIGTERM, agent.text()


def test_a_worker_that_dies_on_one_machine_is_started_again_on_all(start):
    agents = [start('die', MAX_RESTARTS=1, **place) for place in machines(free_port(), 0, 1)]
    for agent in agents:
        assert agent.wait() == 0, agent.text()
    assert agents[0].notes(0) == agents[0].notes(1) == ['start 0 of 2', 'start 1 of 2']


def test_a_machine_that_comes_later_is_taken_in(start):
    first, second = ({**place, 'NNODES': '1:2'} for place in machines(free_port(), 0, 1, RDZV_TIMEOUT=6))
    agents = [start('save', **first)]
    agents[0].pid(0)
    agents.append(start('save', **second))
    agents[0].pid(1)
    os.kill(agents[1].process.pid, signal.SIGUSR1)
    for agent in agents[::-1]:
        assert agent.wait() in (128 + signal.SIGUSR1, 128 + signal.SIGTERM), agent.text()
    assert agents[0].notes(0)[:3] == ['start 0 of 1', f'saved after [{signal.SIGTERM:d}]', 'start 1 of 2']
    assert agents[0].notes(1)[0] == 'start 1 of 2'


def test_a_machine_that_is_lost_ends_the_others(start):
    for lost in (0, 1):
        agents = [start('save', name=f'lost {lost}', **place) for place in machines(free_port(), 0, 1)]
        pids = [agents[0].pid(rank) for rank in (0, 1)]
        os.kill(pids[lost], signal.SIGKILL)
        assert agents[lost].wait() == 1
        assert agents[1 - lost].wait() != 0 and not Path(f'/proc/{pids[1 - lost]}').exists()


def test_machines_that_do_not_meet_say_where_they_looked(start):
    port = free_port()
    with socket.socket() as other:  # which accepts, and never answers
        other.bind(('127.0.0.1', 0))
        other.listen()
        _, nobody = machines(port, 0, 1, RDZV_TIMEOUT=1)
        _, stranger = machines(other.getsockname()[1], 0, 1, RDZV_TIMEOUT=1)
        (alone,) = machines(free_port(), 0, RDZV_TIMEOUT=1)
        (elsewhere,) = machines(free_port(), 0, RDZV_TIMEOUT=1)
        elsewhere['MASTER_ADDR'] = '192.0.2.1'  # of documents: nobody's
        said = {
            nobody['PORT']: r'was not reached within 1 s \(.*refused\): does the machine with NODE_RANK=0 run',
            stranger['PORT']: 'answers, but not as the first machine of a training does',
            alone['PORT']: 'NODE_RANK=1 did not come to',
            elsewhere['PORT']: 'this machine has NODE_RANK=0, and can not listen at',
        }
        agents = [start('end', name=str(it['PORT']), **it) for it in (nobody, stranger, alone, elsewhere)]
        for agent, (place, text) in zip(agents, said.items(), strict=True):
            assert agent.wait() == 1
            assert re.search(f'^error: .*{text}', agent.text(), re.MULTILINE), agent.text()
            assert f':{place}' in agent.text()
