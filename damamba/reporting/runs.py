"""What a run has left in its work folder: its log, the figures of its tests, the pictures in them, what started it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from faster_coco_eval.core import mask as rle

from damamba.evaluation.comparison import read_draws
from damamba.reporting.logs import TrainingLog, read_log
from damamba.run_record import DRAWS, classes_of, evaluations_of, read_json

DATED = re.compile(r'\d{8}_\d{6}')  # the folder of one training or test, named by when it began
DRAWN = 'Drawn totes in the layout of ARMBench'  # what the annotations of the stand-in say of themselves
OLDEST = datetime.min.replace(tzinfo=timezone.utc)


class ReportError(ValueError):
    """What can't be reported; the text says why, and what mends it."""


@dataclass(eq=False)
class Result:
    """One test of a run, or its validation."""

    run: 'Run' = field(repr=False)
    folder: Path  # that of the subset, or a dated one in it
    subset: str  # the folder in the run's of a test on other data than the config's own
    content: dict  # of metrics.json
    examples: dict | None = None  # of the file beside it
    draws: dict[str, np.ndarray] = field(default_factory=dict)  # by kind, [draws, 1 + classes]: of mAP, the mean first

    def get(self, key: str) -> Any:
        """What metrics.json has by a key; None where old files do not say it."""
        return self.content.get(key)

    def of_data(self, key: str) -> Any:
        """What it says of the data set: its name, or the digest of the annotations, ``sha256``."""
        return (self.get('dataset') or {}).get(key)

    @property
    def evaluation(self) -> dict | None:
        """That of the first evaluator that scored boxes or masks."""
        return next(iter(evaluations_of(self.content).values()), None)

    @property
    def data(self) -> str:
        """The name of the data set; old files have the path of the annotations alone."""
        path = Path(self.get('ann_file') or 'unknown')
        return self.of_data('name') or (path.parent.name if path.stem in ('train', 'val', 'test') else path.stem)

    def shares_data(self, other: 'Result') -> bool:
        """Whether both are of the same annotations by their digests, or where one has none by the name of the data."""
        digests = self.of_data('sha256'), other.of_data('sha256')
        return digests[0] == digests[1] if all(digests) else self.data == other.data

    @property
    def drawn(self) -> bool:
        """Whether the data set is the stand-in for ARMBench's pictures."""
        told = self.of_data('description')
        return 'armbench-demo' in (self.get('ann_file') or '') if told is None else told.startswith(DRAWN)

    @property
    def proved(self) -> bool:
        return bool(self.get('proof') and self.get('proof')['passed'])

    @property
    def verdict(self) -> dict | None:
        """What the diagnosis of a file of results says, which stands in the place of a proof."""
        return self.get('verdict')

    @property
    def trust(self) -> str:
        """Why the figures are believed, or that nothing says so, for a table."""
        if self.verdict:
            found = [fault for it in self.verdict['explanations'][:1] for fault in it['faults']]
            return f'DIAGNOSED: {", ".join(found)}' if found else 'diagnosed: nothing found'
        return 'proved' if self.proved else 'not proved'

    @property
    def reasons(self) -> list[str]:
        """Why the figures do not count: what failed of their proof, the faults that are seen in them, the diagnosis."""
        proof, tested = self.get('proof'), self.get('ann_file')
        found = [fault for it in evaluations_of(self.content).values() for fault in it.get('faults') or ()]
        faults = [f'{fault["name"]}: {fault["evidence"]}' for fault in found]
        first = next(iter(self.verdict['explanations'] if self.verdict else ()), None)
        if first and first['mAP'] != first['given']:  # scores of another scale change no mAP
            faults.append(self.verdict['sentence'])
        if not proof:
            return faults
        failed = [f'{it["name"]}: {it["seen"]}' for it in proof['checks'] if it.get('passed') is False]
        if not proof['passed'] and not failed:
            failed = ['the proof did not pass']
        proved = proof['ann_file']  # folders may be named from elsewhere, so that the ends of paths tell
        if tested and proved and Path(proved).parts[-2:] != Path(tested).parts[-2:]:
            failed.append(f'the proof is of other annotations: {proved}, while the figures are of {tested}')
        return failed + faults

    @property
    def is_outdated(self) -> bool:
        """Whether the run was trained again since."""
        tested = time_of(self.get('date'))
        return any(OLDEST < tested < time_of(it.get('started')) for it in self.run.trainings)

    @property
    def epochs(self) -> int | None:
        """What the tested checkpoint had been trained for, as its name says, or else as long as the log goes."""
        name = Path(self.get('checkpoint') or '').name
        found = re.search(r'epoch_(\d+)', name)
        if found or not (self.run.folder / name).is_file():
            return int(found[1]) if found else None
        return max((row['epoch'] for row in self.run.log.train), default=None)


@dataclass(eq=False)
class Run:
    """A work folder, or a file of results."""

    name: str
    folder: Path  # or the file
    log: TrainingLog
    own: Result | None = None  # the newest test on the data of its config, or without one its validation
    validation: Result | None = None  # where no test on the data of its config came after
    results: list[Result] = field(default_factory=list)  # one test of each data set
    aside: dict[Result, Result] = field(default_factory=dict)  # the others, with the ones that count in their place
    starts: list[dict] = field(default_factory=list)  # the run.json, by time
    broken: list[str] = field(default_factory=list)  # files that can't be read
    others: list[Path] = field(default_factory=list)  # folders in it that are runs of their own

    @property
    def is_foreign(self) -> bool:
        """Whether it is no run, but a file of results."""
        return bool(self.own and self.own.verdict)

    @property
    def trainings(self) -> list[dict]:
        return [start for start in self.starts if start['mode'] == 'train']

    def told(self, key: str, newest: bool = False) -> Any:
        """What its tests, its validation, or else its first or newest start say."""
        starts = self.starts[::-1] if newest else self.starts
        return next((it.get(key) for it in (*self.results, self.validation, *starts) if it and it.get(key)), None)


def time_of(text: str | None) -> datetime:
    """A date as files have it; one before all others where it is none."""
    try:
        time = datetime.fromisoformat((text or '').replace('Z', '+00:00'))
    except ValueError:
        return OLDEST
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def read_runs(folders: Sequence[Path], names: Sequence[str] | None = None, others: Sequence[str] = ()) -> list[Run]:
    """Read work folders, named by ``names`` or as the folders are; ``others`` are the names of files of results.

    ReportError if there is no such folder, it holds runs and is none, names are none or equal, or there is nothing.
    """
    names = list(names if names is not None else (folder.resolve().name for folder in folders))
    if len(names) != len(folders):
        raise ReportError(f'--names wants a name for each work folder: {len(folders)} folders, {len(names)} names')
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f'{folder} does not exist or is no folder; wanted the work folder of a run')
    names_of_all = [*names, *others]
    for name in names_of_all:
        if not name.strip() or name.splitlines() != [name]:
            raise ReportError(f'a run has to have a name of one line, got {name!r}: give others with --names')
        if names_of_all.count(name) > 1:
            mend = 'with another one in --results' if name in others else 'with --names'
            raise ReportError(f'two runs have the name {name}: tell them apart {mend}')
    runs = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    if not others and not any(run.log.train or run.log.val or run.results or run.validation for run in runs):
        where = ' or '.join(map(str, folders))
        raise ReportError(f'nothing to report: there is neither a log nor metrics.json that can be read in {where}')
    return runs


def read_run(folder: Path, name: str) -> Run:
    """Read one work folder; of what can't be read the name is kept. ReportError if it is no run, but holds some."""
    run, places = Run(name, folder, read_log(folder)), sorted(folder.iterdir())
    for path in places:  # a test leaves neither weights nor a training's log
        log = read_log(path)
        if log.train or log.left_out or any(path.glob('*.pth')):
            run.others.append(path)
    found = _read_results(run)
    run.starts += filter(None, [read_json(path, run.broken) for path in sorted(folder.glob('*/run.json'))])
    for path in places:
        if path not in run.others and not DATED.fullmatch(path.name):
            found += _read_results(run, path.name)
    found.sort(key=lambda it: time_of(it.get('date')), reverse=True)
    own, tests = [it for it in found if not it.subset], [it for it in found if it.get('split') == 'test']
    newest = {it.subset: it for it in reversed(found)}.values()
    configs = {Path(it.get('config') or '').name for it in newest} - {''}
    weights = {Path(it.get('checkpoint') or '').parent.name for it in newest} - {''}
    if not own and not run.log.train and (run.others or len(configs) > 1 or len(weights) > 1):
        raise ReportError(f'{folder} holds runs, and is none: give {folder}/*')
    run.validation = own[0] if own and own[0] not in tests else None
    run.own = next((it for it in own if it in tests), run.validation)
    _choose_tests(run, tests)
    run.broken += run.log.broken
    return run


def _read_results(run: Run, subset: str = '') -> list[Result]:
    """What tests and validations left in one place, on top and then in dated folders, the last first; copies once."""
    top, found = run.folder / subset, {}
    dated = [path for path in sorted(top.glob('*/metrics.json'), reverse=True) if DATED.fullmatch(path.parent.name)]
    for path in (*top.glob('metrics.json'), *dated):
        content = read_json(path, run.broken) if path.parent not in run.others else None
        if content:
            found.setdefault(repr(content), Result(run, path.parent, subset, content))
    return [*found.values()]


def read_examples(folder: Path, metrics: dict, broken: list[str]) -> dict | None:
    """examples.json and its folder, without entries whose pictures or masks can't be read, which go to ``broken``.

    None if there is no such file, or if it is of other annotations than the figures of the test in ``metrics``.
    """
    path, there = folder / 'examples.json', []
    content = read_json(path, broken)
    if content is None:
        return None
    for place, image in enumerate(content['images']):
        picture = folder / image['picture']
        if not picture.is_file() or cv2.imread(str(picture)) is None:
            broken.append(str(picture))
        elif not _has_masks(image):
            broken.append(f'{path} (images[{place}], a mask)')
        else:
            there.append(image)
    digests = {(it.get('dataset') or {}).get('sha256') for it in (content, metrics)} - {None}
    return {**content, 'images': there, 'folder': folder} if len(digests) < 2 else None


def _draws_of(result: Result) -> dict[str, np.ndarray]:
    """The draws by kind that lie beside metrics.json, as far as they are of its classes."""
    draws = read_draws(result.folder / DRAWS)
    for prefix, evaluation in list(evaluations_of(result.content).items())[:1]:
        found = {kind: draws.get(f'{prefix}/{kind}') for kind in evaluation['scores']}
        shape = (1 + len(classes_of(evaluation)),)
        return {kind: it for kind, it in found.items() if it is not None and it.shape[1:] == shape}
    return {}


def _has_masks(image: dict) -> bool:
    """Whether the masks are of the picture's size, and can be decoded."""
    masks = [it['segmentation'] for it in (*image['annotations'], *image['predictions']) if it.get('segmentation')]
    fit = all(it['size'] == [image['height'], image['width']] for it in masks)
    try:
        return fit and len(rle.area(masks)) == len(masks)
    except (RuntimeError, ValueError):
        return False


def _choose_tests(run: Run, tests: Sequence[Result]) -> None:
    """Sort tests, the newest first, into the one of each data set that counts, and the others.

    The newest in each place stands for what is there, and its examples and draws are read. Of several places one that
    is refused stands for all; else the run's own folder counts, or the newest.
    """
    older = _rivals(tests, lambda one, other: one.subset == other.subset)
    newest = sorted((it for it in tests if it not in older), key=lambda it: it.subset)
    for it in newest:
        it.examples, it.draws = read_examples(it.folder, it.content, run.broken), _draws_of(it)
    ranked = sorted((it for it in tests if it not in older), key=lambda it: (not it.reasons, bool(it.subset)))
    beside = _rivals(ranked, lambda one, other: not other.reasons)
    run.results = [it for it in newest if it not in beside]
    run.aside = beside | {it: beside.get(rival, rival) for it, rival in older.items()}


def _rivals(ranked: Sequence[Result], are_rivals: Callable[[Result, Result], bool]) -> dict[Result, Result]:
    """Those in whose place an earlier one of the same data counts, with that one."""
    rivals: dict[Result, Result] = {}
    for it in ranked:
        kept = (one for one in ranked[: ranked.index(it)] if one not in rivals)
        rival = next((one for one in kept if one.shares_data(it) and are_rivals(one, it)), None)
        if rival:
            rivals[it] = rival
    return rivals
