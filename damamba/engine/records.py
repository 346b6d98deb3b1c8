"""What a run leaves in its own folder: metrics.json of its last evaluation, run.json of a training or a test."""

import contextlib
import os
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path

import faster_coco_eval
import mmdet
import mmengine
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from torch import nn
from torch.utils.data import DataLoader

import damamba
from damamba.engine.command import command_line
from damamba.engine.hooks import bare
from damamba.engine.launch import processes_of
from damamba.engine.speed import TestSpeedHook, device_name
from damamba.evaluation.annotations import read
from damamba.evaluation.building import datasets_of
from damamba.evaluation.comparison import write_draws
from damamba.evaluation.results import Evaluation, EvaluationError
from damamba.run_record import DRAWS, METRICS, RUN, write_json
from damamba.run_record.datasets import describe
from damamba.types import class_of

PACKAGES = (damamba, torch, mmengine, mmdet, faster_coco_eval)
RESULTS = 'results'  # what files of predictions are called by default
_claimed: set[str] = set()  # names of this process' runs


class MetricsFileHook(Hook):
    """Write what the last evaluation measured, unrounded, to ``metrics.json``: beside the log, and in the work folder.

    So no run takes another one's figures away, and the newest lie on top. The draws that their intervals come from lie
    beside them, in ``draws.npz``, so that runs can be compared pair by pair.

    Args:
        speed: the hook that has measured a test's speed by then; it goes there too.
    """

    parameters: int | None = None

    def __init__(self, speed: TestSpeedHook | None = None) -> None:
        self.speed = speed

    def before_run(self, runner) -> None:
        self.parameters = count_parameters(runner.model)  # here, since a test may fuse some away

    @master_only
    def before_test(self, runner) -> None:
        for metric in runner.test_loop.evaluator.metrics:
            if os.path.abspath(getattr(metric, 'outfile_prefix', None) or '') == os.path.join(runner.work_dir, RESULTS):
                metric.outfile_prefix = os.path.join(runner.log_dir, RESULTS)

    @master_only
    def after_test(self, runner) -> None:
        for path in Path(runner.log_dir).glob(f'{RESULTS}.*.json'):
            put_on_top(path, Path(runner.work_dir))

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        origin = dict(split='val', epoch=runner.epoch, iteration=runner.iter)
        self._write(runner, origin, metrics, runner.val_loop)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        origin = dict(split='test', checkpoint=runner._load_from, proof=getattr(runner, 'proof', None))
        speed = self.speed.speed if self.speed else None
        measured = {'speed': speed.to_dict()} if speed else {}
        self._write(runner, origin, metrics, runner.test_loop, **measured)

    @master_only
    def _write(self, runner, origin: dict, metrics: dict | None, loop, **measured: dict) -> None:
        if not metrics:
            return  # predictions were written, nothing was measured
        evaluations = _evaluations(loop)
        content = dict(
            **origin,
            command=command_line(),
            processes=get_world_size(),
            parameters=self.parameters,
            config=runner.cfg.filename,
            ann_file=' and '.join(files_of(loop)) or None,
            dataset=dataset_of(loop),
            date=now(),
            versions=versions(),
            metrics=metrics,
            evaluations={name: it.to_dict() for name, it in evaluations.items()},
            **measured,
        )
        draws = {f'{name}/{kind}': rows for name, it in evaluations.items() for kind, rows in it.draws.items()}
        for folder in (runner.log_dir, runner.work_dir):  # the run's own, and the newest on top
            write_draws(Path(folder) / DRAWS, draws)
            write_json(Path(folder) / METRICS, content)


def _evaluations(loop: BaseLoop) -> dict[str, Evaluation]:
    """The last one of each evaluator of boxes or masks, by its prefix; with a number where it is not the first."""
    found = {}
    for metric in loop.evaluator.metrics:
        if getattr(metric, 'evaluation', None):
            place = 1 + sum(name.split(' ')[0] == metric.prefix for name in found)
            found[f'{metric.prefix} {place}' if place > 1 else metric.prefix] = metric.evaluation
    return found


def put_on_top(path: Path, folder: Path) -> None:
    """Let a file that is not written again stand in another folder too, in place of an earlier one."""
    beside = folder / f'{path.name}.tmp'
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, beside)
    os.replace(beside, folder / path.name)


class RunFileHook(Hook):
    """Write how a training or a test is run to ``run.json`` beside its log: when it begins, and again when it ends.

    One that was interrupted has ``null`` for ``finished`` and ``seconds``.
    """

    parameters: int | None = None

    def before_run(self, runner) -> None:
        self.parameters = count_parameters(runner.model)

    def before_train(self, runner) -> None:
        self._begin(runner, 'train', runner.train_loop.dataloader)

    def before_test(self, runner) -> None:
        self._begin(runner, 'test', runner.test_loop.dataloader)

    def after_train(self, runner) -> None:
        self._end(runner)

    def after_test(self, runner) -> None:
        self._end(runner)

    @master_only
    def _begin(self, runner, mode: str, loader: DataLoader) -> None:
        self._start = time.monotonic()
        device = next((parameter.device for parameter in runner.model.parameters()), torch.device('cpu'))
        self._content = dict(
            mode=mode,
            command=command_line(),
            processes=get_world_size(),
            started=now(),
            finished=None,
            seconds=None,
            config=runner.cfg.filename,
            versions=versions(),
            device=device_name(device),
            parameters=self.parameters,
            batch_size=getattr(getattr(loader, 'batch_sampler', None), 'batch_size', None),
            seed=runner.seed,
        )
        self._write(runner)

    @master_only
    def _end(self, runner) -> None:
        self._content.update(finished=now(), seconds=round(time.monotonic() - self._start, 3))
        self._write(runner)

    def _write(self, runner) -> None:
        """A run does not end because of this file: its weights or its figures are what it is for."""
        try:
            write_json(Path(runner.log_dir) / RUN, self._content)
        except OSError as error:
            runner.logger.warning('run.json was not written: %s', error)


def write_failed_proof(cfg: Config, proof: dict) -> None:
    """Write metrics.json of a test that does not begin since its proof failed, so that no older figures stand there."""
    dataset = next(datasets_of(cfg.test_dataloader.dataset))
    classes = class_of(dataset, DATASETS)._load_metainfo(dataset.get('metainfo', {})).get('classes')
    ann_file = proof['ann_file']
    content = dict(
        split='test',
        checkpoint=cfg.load_from,
        proof=proof,
        command=command_line(),
        processes=processes_of(cfg.launcher),
        parameters=None,  # nothing was built
        config=cfg.filename,
        ann_file=ann_file,
        dataset=describe([ann_file], classes, _info(ann_file)),
        date=now(),
        versions=versions(),
        metrics={},
        evaluations={},
    )
    for folder in (Path(cfg.work_dir, claim_folder(cfg.work_dir)), Path(cfg.work_dir)):
        write_draws(folder / DRAWS, {})
        write_json(folder / METRICS, content)


def _info(ann_file: str) -> dict | None:
    try:
        return read(ann_file).get('info')
    except EvaluationError:  # several files, or none any more
        return None


def claim_folder(work_dir: str) -> str:
    """Make the folder of a run that begins now, ``<date>_<time>``: its name. Of two in a second one waits.

    So does one of this process in another work folder: MMEngine would let it write into the log of the first.
    """
    while True:
        name = time.strftime('%Y%m%d_%H%M%S')
        if name not in _claimed and not Path(work_dir, name).exists():
            with contextlib.suppress(FileExistsError):
                Path(work_dir, name).mkdir(parents=True)
                _claimed.add(name)
                return name
        time.sleep(0.05)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def versions() -> dict[str, str]:
    """Of the packages that figures depend on."""
    return {package.__name__: package.__version__ for package in PACKAGES}


def count_parameters(model: nn.Module) -> int:
    """All of them, trained or not."""
    return sum(parameter.numel() for parameter in bare(model).parameters())


# The data set.


def files_of(loop: BaseLoop) -> list[str]:
    """The annotation files of what a loop tests on, in the order of its data sets."""
    tested = (getattr(metric, 'tested', None) for metric in loop.evaluator.metrics)
    found = next((it.files for it in tested if it), ())
    own = getattr(loop.dataloader.dataset, 'ann_file', None)
    return list(dict.fromkeys(found)) or ([own] if own else [])


def dataset_of(loop: BaseLoop) -> dict:
    """What a loop evaluates on: see :func:`~damamba.run_record.datasets.describe`."""
    tested = (getattr(metric, 'tested', None) for metric in loop.evaluator.metrics)
    info = next((it.document.get('info') for it in tested if it), None)
    classes = (getattr(loop.evaluator, 'dataset_meta', None) or {}).get('classes')
    return describe(files_of(loop), classes, info)
