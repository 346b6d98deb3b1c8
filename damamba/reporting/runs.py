"""What a run has left in its work folder: its log, the figures of its tests, the pictures in them, what started it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
        return next((evaluation for evaluation in evaluations if evaluation.get('scores')), None)

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
        return failed + faults_of(self.metrics)

    @property
    def epochs(self) -> int | None:
        """Of the training that the tested checkpoint comes from, as its file name says."""
        found = re.search(r'epoch_(\d+)', Path(self.metrics.get('checkpoint') or '').name)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class Run:
    """A work folder. ``validation`` is metrics.json where no test came after; ``starts`` are the run.json, by time."""

    name: str
    folder: Path
    log: TrainingLog = field(default_factory=TrainingLog)
    results: list[Result] = field(default_factory=list)
    validation: dict | None = None
    starts: list[dict] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # files that can't be read

    @property
    def own(self) -> Result | None:
        """The test on the data of its config."""
        return next((result for result in self.results if not result.subset), None)

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
    evaluations = (metrics.get('evaluations') or {}).values()
    return [f'{it["name"]}: {it["evidence"]}' for evaluation in evaluations for it in evaluation.get('faults', ())]


def read_runs(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[Run]:
    """Read work folders, named by ``names`` or as the folders are.

    Raises:
        ReportError: there is no such folder, two have one name, or none holds anything.
    """
    names = list(names or (folder.resolve().name for folder in folders))
    if len(names) != len(folders):
        raise ReportError(f'--names wants a name for each work folder: {len(folders)} folders, {len(names)} names')
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f'{folder} does not exist or is no folder; wanted the work folder of a run')
    for name in names:
        if names.count(name) > 1:
            raise ReportError(f'two runs have the name {name}: tell them apart with --names')
    runs = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    if not any(run.log.train or run.log.val or run.results or run.validation for run in runs):
        where = ' or '.join(map(str, folders))
        raise ReportError(f'nothing to report: there is neither a log nor metrics.json in {where}')
    return runs


def read_run(folder: Path, name: str) -> Run:
    """Read one work folder; of what can't be read the name is kept."""
    broken: list[str] = []
    starts = [_read(path, broken) for path in sorted(folder.glob('*/run.json'))]
    own = _read(folder / 'metrics.json', broken)
    tests = {'': own, **{path.parent.name: _read(path, broken) for path in sorted(folder.glob('*/metrics.json'))}}
    results = [
        Result(name, folder / subset, subset, metrics, _examples(folder / subset, metrics, broken))
        for subset, metrics in tests.items()
        if metrics and metrics.get('split') == 'test'
    ]
    validation = own if own and own.get('split') != 'test' else None
    return Run(name, folder, read_log(folder), results, validation, [it for it in starts if it], broken)


def _examples(folder: Path, metrics: dict, broken: list[str]) -> dict | None:
    """The pictures of a test, unless they are of other annotations than its figures."""
    examples = _read(folder / 'examples.json', broken)
    digests = [(content or {}).get('dataset', {}).get('sha256') for content in (examples, metrics)]
    return None if all(digests) and digests[0] != digests[1] else examples


def _read(path: Path, broken: list[str]) -> dict | None:
    """The content of a JSON file; None if there is none, or something else, which goes to ``broken``."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError:
        content = None
    if isinstance(content, dict):
        return content
    broken.append(str(path))
    return None
