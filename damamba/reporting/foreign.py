"""Files of results from anybody in a report: a row from predictions alone, with the verdict of a diagnosis."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damamba.datasets.categories import DatasetError, match_categories
from damamba.datasets.json_files import read_json
from damamba.evaluation.annotations import read
from damamba.evaluation.coco_ap import renamed
from damamba.evaluation.diagnosis import Diagnosis, diagnose
from damamba.evaluation.results import EvaluationError
from damamba.reporting.ground_truth import sections_of
from damamba.reporting.logs import TrainingLog
from damamba.reporting.runs import ReportError, Result, Run
from damamba.run_record import classes_of
from damamba.run_record.datasets import describe, sha256_of

LEAST = 0.05  # score from which on detections are kept for pictures, as runs do
ASK = 'give the ground truth with --annotations'


@dataclass(frozen=True)
class Truth:
    """What files of results are held against."""

    file: Path
    document: dict  # of the classes that the runs were tested on, called as they call them
    dataset: dict  # as metrics.json has it
    alike: Sequence[Result]  # of runs on the same ground truth


def read_foreign(named: Sequence[tuple[str, Path]], annotations: Path | None, runs: Sequence[Run]) -> list[Run]:
    """A run without a training for each file of results by its name, held against ``annotations``.

    By default these are the annotations of the main data set of ``runs``. ReportError if a file can't be read or
    held against them, or they are not there.
    """
    for name, file in named:
        if not file.is_file():
            raise ReportError(f'--results {name}: {file} does not exist; wanted COCO results, a .json file')
    try:
        truth = _read_truth(annotations, runs) if named else None
        return [_row(name, file, truth) for name, file in named]
    except (EvaluationError, DatasetError) as error:
        raise ReportError(f'{error}') from error


def _read_truth(annotations: Path | None, runs: Sequence[Run]) -> Truth:
    sections = sections_of(runs)
    if annotations is None:
        alike = sections[0].results if sections else []
        annotations, digest = _tested_file(alike)
    elif not annotations.is_file():
        raise ReportError(f'--annotations: {annotations} does not exist; wanted the ground truth, a .json file')
    else:
        digest = sha256_of(annotations)
        alike = next((it.results for it in sections if digest in {of.of_data('sha256') for of in it.results}), [])
    document = read(annotations)
    if not alike:
        names = [category['name'] for category in sorted(document['categories'], key=lambda it: it['id'])]
        return Truth(annotations, document, describe([annotations], names, document.get('info')), [])
    classes = classes_of(alike[0].evaluation)
    return Truth(annotations, _of_classes(document, classes), {**alike[0].get('dataset'), 'sha256': digest}, alike)


def _tested_file(alike: Sequence[Result]) -> tuple[Path, str]:
    """The annotations that runs were tested on, if they are still there, and their digest."""
    told = next((it for it in alike if it.of_data('sha256')), None)
    if not told:
        raise ReportError(f'--results: no run says what it was tested on; {ASK}')
    file, digest = Path(told.get('ann_file') or ''), told.of_data('sha256')
    if not file.is_file():
        raise ReportError(f'--results: the runs were tested on {file}, which is not there; {ASK}')
    if sha256_of(file) != digest:
        raise ReportError(f'--results: {file} is not what it was when the runs were tested on it; {ASK}')
    return file, digest


def _of_classes(document: dict, classes: Sequence[str]) -> dict:
    """Annotations of some classes alone, which are called by these names."""
    ids = match_categories(document['categories'], classes).ids
    document, kept = renamed(document, ids, classes), set(ids)
    own = {
        'categories': [it for it in document['categories'] if it['id'] in kept],
        'annotations': [it for it in document['annotations'] if it['category_id'] in kept],
    }
    return document | own


def _diagnosed(file: Path, truth: Truth) -> Diagnosis:
    try:
        entries = read_json(file)
    except (OSError, ValueError) as error:
        raise ReportError(f'{file} can not be read as JSON: {error}') from error
    return diagnose(truth.document, entries)


def _row(name: str, file: Path, truth: Truth) -> Run:
    diagnosis = _diagnosed(file, truth)
    verdict = {'explanations': diagnosis.to_dict()['explanations'], 'sentence': diagnosis.sentence}
    told = {'split': 'test', 'ann_file': str(truth.file), 'dataset': truth.dataset, 'verdict': verdict}
    told['evaluations'] = {'coco': diagnosis.evaluation.to_dict()}
    run = Run(name, file, TrainingLog())
    content = json.loads(json.dumps(told, default=lambda value: value.item()))  # as it is read from metrics.json
    result = Result(run, file, '', content, _examples(truth, diagnosis), _draws(diagnosis))
    run.own, run.results = result, [result]
    return run


def _examples(truth: Truth, diagnosis: Diagnosis) -> dict | None:
    """The pictures that a run left as examples, with what the file has found in them."""
    left = next((it.examples for it in truth.alike if it.examples), None)
    if not left:
        return None
    found = defaultdict(list)
    for entry in diagnosis.entries.get('segm', diagnosis.entries.get('bbox', ())):
        if entry['score'] >= LEAST:
            found[entry['image_id']].append(entry)
    return left | {'images': [it | {'predictions': found[it['id']]} for it in left['images']]}


def _draws(diagnosis: Diagnosis) -> dict[str, np.ndarray]:
    """Of mAP, by kind, as draws.npz of a run has them."""
    return {
        kind: it.draws for kind, it in diagnosis.evaluation.scores.items() if getattr(it, 'draws', None) is not None
    }
