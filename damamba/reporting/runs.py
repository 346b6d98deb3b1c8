"""What a run has left in its work folder: its log, the figures of its tests, the pictures in them, what started it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from damamba.reporting.files import START, misfit, misfit_of_metrics, read, read_examples
from damamba.reporting.logs import TrainingLog, read_log

DRAWN = 'Drawn totes in the layout of ARMBench'  # what the annotations of the stand-in say of themselves


class ReportError(ValueError):
    """What can't be reported; the text says why, and what mends it."""


@dataclass(frozen=True)
class Dataset:
    """What was tested on; what old files do not say is None."""

    name: str
    ann_file: str | None = None
    description: str | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, metrics: dict) -> 'Dataset':
        """Of what metrics.json says, or else by the path of the annotations."""
        told, ann_file = metrics.get('dataset') or {}, metrics.get('ann_file')
        name = told.get('name') or (name_of(ann_file) if ann_file else 'unknown')
        return cls(name, ann_file, told.get('description'), told.get('sha256'))

    @property
    def drawn(self) -> bool:
        """Whether it is the stand-in for ARMBench's pictures."""
        if self.description is not None:
            return self.description.startswith(DRAWN)
        return 'armbench-demo' in (self.ann_file or '')

    def is_that_of(self, other: 'Dataset') -> bool:
        """Whether the annotations are the same: by the digest, or where one has none by the name."""
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        return self.name == other.name


@dataclass(frozen=True)
class Result:
    """One test of a run: ``metrics`` is the content of metrics.json, ``examples`` that of examples.json.

    ``subset`` names the folder below the run's of a test on other data than the config's own.
    """

    run: str
    folder: Path
    subset: str
    metrics: dict
    examples: dict | None = None

    @property
    def dataset(self) -> Dataset:
        return Dataset.of(self.metrics)

    @property
    def evaluation(self) -> dict | None:
        """Of the first evaluator that scored boxes or masks."""
        evaluations = (self.metrics.get('evaluations') or {}).values()
        return next((it for it in evaluations if it and it.get('scores')), None)

    @property
    def details(self) -> dict:
        """By kind, ``bbox`` or ``segm``; empty where the test had none."""
        return ((self.evaluation or {}).get('details') or {}).get('kinds', {})

    @property
    def speed(self) -> dict | None:
        return self.metrics.get('speed')

    @property
    def proved(self) -> bool:
        return bool((self.metrics.get('proof') or {}).get('passed'))

    @property
    def checks(self) -> list[dict]:
        """The claims of the proof: name, passed (None: nothing to see), seen."""
        return (self.metrics.get('proof') or {}).get('checks', [])

    @property
    def reasons(self) -> list[str]:
        """Why its figures do not count: the claims of its proof that failed, and the faults that are seen in them."""
        failed = [f'{check["name"]}: {check["seen"]}' for check in self.checks if check['passed'] is False]
        if self.metrics.get('proof') and not self.proved and not failed:
            failed = ['the proof did not pass']
        return failed + self._other_proof() + faults_of(self.metrics)

    def _other_proof(self) -> list[str]:
        """Folders may be named from elsewhere, so that the ends of paths tell."""
        proved, tested = (self.metrics.get('proof') or {}).get('ann_file'), self.dataset.ann_file
        if not (proved and tested) or Path(proved).parts[-2:] == Path(tested).parts[-2:]:
            return []
        return [f'the proof is of other annotations: {proved}, while the figures are of {tested}']

    @property
    def epochs(self) -> int | None:
        """Of the training that the tested checkpoint comes from, as its file name says."""
        found = re.search(r'epoch_(\d+)', Path(self.metrics.get('checkpoint') or '').name)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class Run:
    """A work folder. ``validation`` is metrics.json where no test came after; ``starts`` are the run.json, by time.

    ``results`` has one test of each data set, ``aside`` the others beside the ones that count in their place.
    """

    name: str
    folder: Path
    log: TrainingLog = field(default_factory=TrainingLog)
    results: list[Result] = field(default_factory=list)
    validation: dict | None = None
    starts: list[dict] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # files that can't be read
    aside: list[tuple[Result, Result]] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)  # folders in it that are runs of their own

    @property
    def own(self) -> Result | None:
        """The test on the data of its config."""
        results = (*self.results, *(result for result, _ in self.aside))
        return next((result for result in results if not result.subset), None)

    @property
    def trainings(self) -> list[dict]:
        return [start for start in self.starts if start.get('mode') == 'train']

    @property
    def parameters(self) -> int | None:
        told = [*(result.metrics for result in self.results), self.validation or {}, *reversed(self.starts)]
        return next((it['parameters'] for it in told if it.get('parameters')), None)

    @property
    def refused(self) -> bool:
        """Whether figures of the evaluator that it trained with can't be believed."""
        return bool((self.own and self.own.reasons) or faults_of(self.validation or {}))

    def epochs(self, result: Result) -> int | None:
        """What its checkpoint had been trained for, as the name says, or else as long as the log goes."""
        tested = Path(result.metrics.get('checkpoint') or '')
        if result.epochs is not None or not (self.folder / tested.name).is_file():
            return result.epochs
        return max((row['epoch'] for row in self.log.train), default=None)


def name_of(ann_file: str) -> str:
    """mix-object-tote of .../mix-object-tote/test.json, instances_val2017 of .../instances_val2017.json."""
    path = Path(ann_file)
    return path.parent.name if path.stem in ('train', 'val', 'test') else path.stem


def faults_of(metrics: dict) -> list[str]:
    """What makes figures look wrong, of all evaluators, as texts."""
    evaluations = [it for it in (metrics.get('evaluations') or {}).values() if it]
    return [f'{it["name"]}: {it["evidence"]}' for evaluation in evaluations for it in evaluation.get('faults') or ()]


def time_of(text: str | None) -> datetime | None:
    """A date as files have it; None where it is none."""
    try:
        time = datetime.fromisoformat((text or '').replace('Z', '+00:00'))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def read_runs(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[Run]:
    """Read work folders, named by ``names`` or as the folders are.

    Raises:
        ReportError: there is no such folder, it holds runs and is none, names are none or equal, or there is nothing.
    """
    named = names is not None
    names = list(names if named else (folder.resolve().name for folder in folders))
    if len(names) != len(folders):
        raise ReportError(f'--names wants a name for each work folder: {len(folders)} folders, {len(names)} names')
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f'{folder} does not exist or is no folder; wanted the work folder of a run')
    for name in names:
        if not name.strip() or name.splitlines() != [name]:
            raise ReportError(f'a run has to have a name of one line, got {name!r}: give others with --names')
        if names.count(name) > 1:
            raise ReportError(f'two runs have the name {name}: tell them apart with --names')
    runs = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    if not any(run.log.train or run.log.val or run.results or run.validation for run in runs):
        where = ' or '.join(map(str, folders))
        raise ReportError(f'nothing to report: there is neither a log nor metrics.json that can be read in {where}')
    return runs


def read_run(folder: Path, name: str) -> Run:
    """Read one work folder; of what can't be read the name is kept.

    Raises:
        ReportError: it is no run, but holds some.
    """
    broken: list[str] = []
    log, own = read_log(folder), read(folder / 'metrics.json', misfit_of_metrics, broken)
    starts = [read(path, lambda it: misfit(it, START), broken) for path in sorted(folder.glob('*/run.json'))]
    others = [path for path in sorted(folder.iterdir()) if _was_trained(path)]
    subsets = [path.parent for path in sorted(folder.glob('*/metrics.json')) if path.parent not in others]
    below = {path.name: read(path / 'metrics.json', misfit_of_metrics, broken) for path in subsets}
    if own is None and not log.train and (others or _unlike_models(below.values())):
        raise ReportError(f'{folder} holds runs, and is none: give {folder}/*')
    results = [
        Result(name, folder / subset, subset, metrics, _examples(folder / subset, metrics, broken))
        for subset, metrics in {'': own, **below}.items()
        if metrics and metrics['split'] == 'test'
    ]
    validation = own if own and own['split'] != 'test' else None
    count, aside = _settled(results)
    return Run(name, folder, log, count, validation, [it for it in starts if it], broken + log.broken, aside, others)


def _was_trained(folder: Path) -> bool:
    """Whether a folder is a run of its own: a test leaves neither weights nor a training's log."""
    log = read_log(folder)
    return bool(log.train or log.left_out) or any(folder.glob('*.pth'))


def _unlike_models(tests: Iterable[dict | None]) -> bool:
    """Whether they are of several configs, or of weights from several folders, by the names alone."""
    told = [it for it in tests if it]
    configs = {Path(it['config']).name for it in told if it.get('config')}
    return len(configs) > 1 or len({Path(it['checkpoint']).parent.name for it in told if it.get('checkpoint')}) > 1


def _settled(results: Sequence[Result]) -> tuple[list[Result], list[tuple[Result, Result]]]:
    """The one test of each data set that counts, and the others, each with that which does.

    One that is refused stands for all; else that in the run's own folder counts, or the newest.
    """
    oldest = datetime.min.replace(tzinfo=timezone.utc)
    by_date = sorted(results, key=lambda it: time_of(it.metrics.get('date')) or oldest, reverse=True)
    kept, aside = [], []
    for result in sorted(by_date, key=lambda it: (not it.reasons, bool(it.subset))):
        rival = next((it for it in kept if it.dataset.is_that_of(result.dataset)), None)
        if rival is None or result.reasons:
            kept.append(result)
        else:
            aside.append((result, rival))
    return [it for it in results if any(it is other for other in kept)], aside


def _examples(folder: Path, metrics: dict, broken: list[str]) -> dict | None:
    """The pictures of a test, unless they are of other annotations than its figures."""
    examples = read_examples(folder, broken)
    digests = [((content or {}).get('dataset') or {}).get('sha256') for content in (examples, metrics)]
    return None if all(digests) and digests[0] != digests[1] else examples
