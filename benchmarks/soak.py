"""Kills a training again and again, and holds what comes of it against one that nobody disturbed. Needs MMDetection.

    python benchmarks/soak.py
    python benchmarks/soak.py --kills 3 --steps 60 --seed 7

Two trainings of a small detector, through dist_train.sh: of one process and of two. Each is killed at random moments,
half of the kills each, in one of these ways, and started again with --resume:

    kill       kill -9 of all its processes
    SIGTERM    to the script, as a scheduler does; it has to end with 143 and a checkpoint of that step
    save       kill -9 while a checkpoint is being written
    rank       kill -9 of one process of two; torchrun has to end the other

Both have to end with every step done, and no kill may cost a whole checkpoint. That of one process ends with the same
weights and the same optimizer's state as the undisturbed one, bit for bit. Any of this missing: status 1.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner

NAME = 'soak'
ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = {device: dict(repeat=1) for device in ('cpu', 'cuda')}
KINDS = {1: ('kill', 'SIGTERM', 'save'), 2: ('kill', 'SIGTERM', 'save', 'rank')}
EPOCHS = 5  # of as many steps, two pictures each
EVERY = 10  # steps, a checkpoint
PATIENCE = 600  # seconds that a training may take to do what is waited for
POLL = 0.002
CONFIG = """
_base_ = {base!r}
train_cfg = dict(max_epochs={epochs})
train_dataloader = dict(batch_size={batch}, dataset=dict(data_root={data!r}))
test_dataloader = dict(dataset=dict(data_root={data!r}))
val_cfg = None
val_dataloader = None
val_evaluator = None
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(by_epoch=False, interval={every}, max_keep_ckpts=3, save_best=None),
)
custom_hooks = []
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
"""


class SoakError(RuntimeError):
    """A promise was not kept."""


class State(NamedTuple):
    """What lies in a work folder: the newest whole checkpoint, how far it is, and what a killed save has left."""

    name: str | None
    step: int
    left: int


class Training:
    """A training of ``processes`` in ``folder``, which can be started, watched and killed."""

    def __init__(self, config: Path, folder: Path, processes: int, steps: int):
        self.config, self.folder, self.processes, self.steps = config, folder, processes, steps
        self.log = folder.with_suffix('.log')

    def start(self, resume: bool) -> None:
        command = ['bash', str(ROOT / 'dist_train.sh'), str(self.config), str(self.processes)]
        command += ['--work-dir', str(self.folder), '--seed', '0', *(['--resume'] if resume else [])]
        settings = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
        self.started = time.time()
        with self.log.open('w') as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True
            )

    def said(self) -> str:
        """The end of what this start has printed."""
        return self.log.read_text(errors='replace')[-3000:]

    def step(self) -> int:
        """The last step that this start has logged; 0 before its first."""
        files = [path for path in self.folder.glob('*/vis_data/scalars.json') if path.stat().st_mtime >= self.started]
        if not files:
            return 0
        lines = max(files, key=lambda path: path.stat().st_mtime).read_text().rstrip('\n').split('\n')
        with contextlib.suppress(ValueError):  # a line that is being written
            return json.loads(lines[-1]).get('step', 0)
        return 0

    def wait_for(self, condition) -> bool:
        """Wait until a condition holds; whether it did before the training ended."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > end:
                self.kill()
                raise SoakError(f'the training stands still:\n{self.said()}')
            time.sleep(POLL)
        return True

    def wait_until(self, step: int) -> bool:
        """Wait until a step is logged; whether it was."""
        return self.wait_for(lambda: self.step() >= step)

    def finish(self) -> int:
        """Wait for its end: the exit status."""
        self.wait_for(lambda: False)
        return self.process.returncode

    def kill(self) -> None:
        """Kill every process of the training, and wait until they are gone."""
        pids = sorted(family(self.process.pid), reverse=True)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + PATIENCE
        while any(alive(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(POLL)

    def ranks(self) -> list[int]:
        """The processes that train, in the order of their ranks."""
        found = {}
        for pid in family(self.process.pid):
            with contextlib.suppress(OSError):
                settings = Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')
                command = Path(f'/proc/{pid}/cmdline').read_bytes()
                rank = next((it[5:] for it in settings if it.startswith(b'RANK=')), None)
                if rank is not None and b'train.py' in command:
                    found.setdefault(int(rank), pid)  # a data worker of it has a higher number
        return [found[rank] for rank in sorted(found)]

    def state(self) -> State:
        from damamba.checkpoint.folder import CheckpointFolder

        path, _ = CheckpointFolder(self.folder).newest_whole()
        left = len(list(self.folder.glob('.*.part')))
        return State(path.name, int(path.stem.split('_')[1]), left) if path else State(None, 0, left)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        for task in Path(f'/proc/{parent}/task').glob('*/children'):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def disturb(training: Training, kind: str) -> int:
    """Do the harm, and see the training end: its exit status."""
    if kind == 'SIGTERM':
        training.process.send_signal(signal.SIGTERM)
        return training.finish()
    if kind == 'save':
        training.wait_for(lambda: any(training.folder.glob('.*.part')))
    if kind == 'rank':
        ranks = training.ranks()
        if len(ranks) == training.processes:
            os.kill(random.choice(ranks), signal.SIGKILL)
        return training.finish()
    training.kill()
    return -signal.SIGKILL


def soak(training: Training, kills: int, chance: random.Random) -> Iterator[dict]:
    """Start and kill in turns, and at last let it end: a row for each kill."""
    kinds = KINDS[training.processes]
    plan = [kinds[place % len(kinds)] for place in range(kills)]
    chance.shuffle(plan)
    targets = sorted(chance.sample(range(1, training.steps - 1), kills))
    before = training.state()
    for number, (kind, target) in enumerate(zip(plan, targets, strict=True), 1):
        runner.progress(f'{training.processes} process(es), kill {number} of {kills}: {kind}')
        training.start(resume=number > 1)
        running = training.wait_until(max(target, before.step + 1))
        time.sleep(chance.random() * 0.2)
        reached = training.step()
        status = disturb(training, kind) if running else training.process.returncode
        after = training.state()
        check(training, kind, before, after, status, running)
        yield dict(
            processes=training.processes,
            kill=number,
            kind=kind,
            step=reached,
            status=status,
            before=before.step,
            newest=after.step,
            leftovers=after.left,
            outcome='kept',
        )
        before = after
    training.start(resume=True)
    status = training.finish()
    if status:
        raise SoakError(f'the last start ended with {status}:\n{training.said()}')


def check(training: Training, kind: str, before: State, after: State, status: int, running: bool) -> None:
    """No kill costs a whole checkpoint, and a SIGTERM leaves one and says so."""
    if not running:
        raise SoakError(f'the training ended by itself with {status}:\n{training.said()}')
    if after.step < before.step:
        raise SoakError(f'{kind}: {before.name} was lost, {after.name} is the newest whole checkpoint')
    if kind == 'SIGTERM' and (status != 143 or after.step <= before.step):
        raise SoakError(f'SIGTERM: status {status}, newest {after.name}:\n{training.said()}')


def same(ours: object, theirs: object) -> bool:
    """Whether two contents of checkpoints are equal, bit for bit."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def last(training: Training) -> dict:
    """What the end of a training has left."""
    from damamba.checkpoint import read

    state = training.state()
    if state.step != training.steps:
        raise SoakError(f'{training.folder.name} ended at {state.name}, not after {training.steps} steps')
    return read(training.folder / state.name)


def compare(processes: int, ours: dict, theirs: dict) -> dict:
    """The last row of a training: whether weights and optimizer are those of the undisturbed one."""
    parts = ('state_dict', 'optimizer')
    equal = all(same(ours[part], theirs[part]) for part in parts)
    largest = max(
        float((value.double() - theirs['state_dict'][name].double()).abs().max())
        for name, value in ours['state_dict'].items()
        if value.numel()
    )
    if processes == 1 and not equal:
        raise SoakError(f'weights or optimizer are not those of the undisturbed training: they differ by {largest}')
    text = 'bit for bit' if equal else f'within {largest:.1e}'
    return dict(
        processes=processes,
        kill='',
        kind='end',
        step=ours['meta']['iter'],
        status=0,
        before='',
        newest=ours['meta']['iter'],
        leftovers=0,
        outcome=f'as undisturbed, {text}',
    )


def measure(folder: Path, args: argparse.Namespace) -> Iterator[list[dict]]:
    from damamba.datasets.demo import write_shapes

    data = folder / 'shapes'
    write_shapes(data, images=args.steps // EPOCHS * 2, val_images=1)
    chance = random.Random(args.seed)
    for processes in (1, 2):
        config = folder / f'soak_{processes}.py'
        base = ROOT / 'configs' / 'demo' / 'mask_rcnn_DAMamba_nano_fpn_shapes.py'
        fills = dict(base=str(base), data=f'{data}/', batch=2 // processes, every=EVERY, epochs=EPOCHS)
        config.write_text(CONFIG.format(**fills))
        calm = Training(config, folder / f'calm_{processes}', processes, args.steps)
        calm.start(resume=False)
        if calm.finish():
            raise SoakError(f'the undisturbed training failed:\n{calm.said()}')
        training = Training(config, folder / f'soak_{processes}', processes, args.steps)
        kills = args.kills - args.kills // 2 if processes == 1 else args.kills // 2
        yield list(soak(training, kills, chance))
        yield [compare(processes, last(training), last(calm))]


def show(rows: Sequence[dict], args: argparse.Namespace) -> None:
    header = ('processes', 'kill', 'how', 'step', 'status', 'newest before', 'newest after', 'leftovers', '')
    runner.print_table(
        f'Trainings of {args.steps} steps, {args.kills} kills, seed {args.seed}',
        header,
        [[str(cell) for cell in row.values()] for row in rows],
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = runner.make_parser(__doc__)
    parser.add_argument('--kills', type=int, default=20, help='default: %(default)s')
    parser.add_argument(
        '--steps', type=int, default=200, help='of each training, a multiple of 5; default: %(default)s'
    )
    parser.add_argument('--seed', type=int, default=int(time.time()), help='of the moments; default: the clock')
    args = runner.parse(parser, argv, DEFAULTS, NAME)
    if args.steps % EPOCHS or args.steps < 2 * args.kills or args.kills < 1:
        parser.error('--steps must be a multiple of 5 and at least twice --kills, and --kills at least 1')
    with tempfile.TemporaryDirectory(prefix='soak_') as folder:
        try:
            runner.run(measure(Path(folder), args), args, show)
        except SoakError as error:
            sys.exit(f'soak: {error}')


if __name__ == '__main__':
    main()
