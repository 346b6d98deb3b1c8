"""What the guards of a training cost: steps with and without them in turns, a save, a verification. Needs MMDetection.

    python benchmarks/guards.py
    python benchmarks/guards.py --shape 2x800x1344 --repeat 20

One training of Mask R-CNN with DAMamba-T on drawn scenes. Every other step runs without what each step has a guard for:
numbers that are not finite, signals, pictures that were left out, random numbers of its own. `stop` is how long a save
stops the training; `verify` is what a resume adds, beside `read`, reading the same file once without any check.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from mmengine.config import Config
from mmengine.hooks import Hook

import damamba.register  # noqa: F401
from benchmarks import runner
from benchmarks.runner import Shape, Timing, number
from damamba.datasets.demo import write_shapes
from damamba.datasets.drawing.things import CLASSES
from damamba.engine.finite import SkipNonFiniteHook
from damamba.engine.preemption import PreemptionHook
from damamba.engine.replay import ReplayHook
from damamba.engine.runner import DAMambaRunner
from damamba.engine.saving import DurableCheckpointHook
from damamba.engine.sound_data import SoundDataHook

GUARDS = (SkipNonFiniteHook, PreemptionHook, ReplayHook, SoundDataHook)
SAVES = 3
NAME = 'guards'
PICTURES = 8
DEFAULTS = {
    'cpu': dict(repeat=10, shape=Shape(1, 800, 1344)),
    'cuda': dict(repeat=50, shape=Shape(2, 800, 1344)),
}
CONFIG = """
_base_ = {base!r}
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=({width}, {height}), keep_ratio=False),
    dict(type='PackDetInputs'),
]
model = dict(
    backbone=dict(norm_cfg=dict(type='BN'), drop_path_rate=0.0),  # dropped branches take no time
    roi_head=dict(bbox_head=dict(num_classes=6), mask_head=dict(num_classes=6)),
)
train_dataloader = dict(
    batch_size={batch},
    num_workers=1,
    dataset=dict(data_root={data!r}, pipeline=pipeline, metainfo=dict(classes={classes!r}), filter_cfg=None),
)
train_cfg = dict(max_epochs={epochs}, _delete_=True, type='EpochBasedTrainLoop')
val_cfg = val_dataloader = val_evaluator = None
param_scheduler = []
optim_wrapper = dict(optimizer=dict(lr=1e-6))
default_hooks = dict(checkpoint=dict(interval=-1, save_last=False, save_best=None))
work_dir = {folder!r}
log_level = 'ERROR'
"""


class Turns:
    """Gives the steps of a training their guards in turns, and times them in milliseconds."""

    def __init__(self, training, device: str):
        self.training, self.device = training, device
        self.times: dict[bool, list[float]] = {True: [], False: []}
        self.hooks = {True: training.hooks, False: [it for it in training.hooks if not isinstance(it, GUARDS)]}
        self.run_iter = training.train_loop.run_iter
        training.train_loop.run_iter = self.run

    def run(self, idx: int, batch: dict) -> None:
        """One step, guarded if its number is even."""
        is_guarded = self.training.iter % 2 == 0
        self.training._hooks = self.hooks[is_guarded]
        for guard in self.training.finite._guards:
            source = guard if is_guarded else guard.unguarded
            guard.wrapper.step, guard.wrapper.backward = source.step, source.backward
        wait = torch.cuda.synchronize if self.device == 'cuda' else lambda: None
        wait()
        start = time.perf_counter()
        self.run_iter(idx, batch)
        wait()
        self.times[is_guarded].append(1000 * (time.perf_counter() - start))
        self.training._hooks = self.hooks[True]


class Take(Hook):
    """Begins to give turns once the loop is there."""

    priority = 'LOWEST'

    def __init__(self, device: str):
        self.device = device

    def before_train(self, runner) -> None:
        self.turns = Turns(runner, self.device)


def build(folder: Path, args: argparse.Namespace) -> DAMambaRunner:
    """The runner of a training on drawn scenes."""
    write_shapes(folder / 'shapes', images=PICTURES * args.shape.batch, val_images=1)
    steps = 2 * (args.repeat + runner.WARM_UP[args.device])
    config = folder / 'guards.py'
    base = runner.ROOT / 'configs' / 'mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'
    sizes = dict(height=args.shape.height, width=args.shape.width, batch=args.shape.batch)
    fills = dict(base=str(base), data=f'{folder}/shapes/', folder=str(folder / 'run'), classes=CLASSES, **sizes)
    config.write_text(CONFIG.format(epochs=-(-steps // PICTURES), **fills))
    cfg = Config.fromfile(config)
    cfg.launcher = 'none'
    return DAMambaRunner.from_cfg(cfg)


def time_of(case: Callable) -> float:
    start = time.perf_counter()
    case()
    return 1000 * (time.perf_counter() - start)


def time_saves(training: DAMambaRunner, repeat: int) -> dict[str, Timing]:
    """Saves of what was trained: how long they stop it, how long they take, and the reading of one."""
    hook = next(it for it in training.hooks if isinstance(it, DurableCheckpointHook))
    times: dict[str, list[float]] = {name: [] for name in ('stop', 'write', 'verify', 'read')}
    for _ in range(repeat):
        times['stop'].append(time_of(lambda: hook._save_checkpoint(training)))
        times['write'].append(time_of(hook._writer.wait))
        path = hook.folder.root / hook.last_ckpt
        times['verify'].append(time_of(lambda path=path: hook.folder.verify(path)))
        times['read'].append(time_of(path.read_bytes))
    return {name: Timing.of(taken) for name, taken in times.items()}


def measure(args: argparse.Namespace) -> Iterator[list[dict]]:
    """The rows: of steps beside the plain ones, of saves beside a guarded step, of a verification beside a read."""
    with tempfile.TemporaryDirectory(prefix='guards_') as folder:
        training, take = build(Path(folder), args), Take(args.device)
        training.register_hook(take)
        training.train()
        warm = runner.WARM_UP[args.device]
        guarded, plain = (Timing.of(take.turns.times[kind][warm:]) for kind in (True, False))
        yield [row('plain step', plain, plain, args), row('guarded step', guarded, plain, args)]
        saves = time_saves(training, SAVES)
        yield [row(name, timing, saves['read'] if name == 'verify' else plain, args) for name, timing in saves.items()]


def row(name: str, timing: Timing, base: Timing, args: argparse.Namespace) -> dict:
    against = 'reading' if name == 'verify' else 'plain step'
    what = dict(benchmark=NAME, measure=name, model='Mask R-CNN, DAMamba-T', **args.shape._asdict(), unit='ms')
    return runner.compare(what, timing, base.median, against)


def show(rows: Sequence[dict], args: argparse.Namespace) -> None:
    title = f'Guards of a training, milliseconds: {args.shape}, medians of {args.repeat}, {args.device}'
    lines = [(it['measure'], number(it['median']), number(it['ratio'], 4), it['against']) for it in rows]
    runner.print_table(title, ('', 'ms', 'ratio', 'of'), lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--shape', 'of the pictures')
    args = runner.parse(parser, argv, DEFAULTS, NAME)
    runner.run(measure(args), args, show)


if __name__ == '__main__':
    main()
