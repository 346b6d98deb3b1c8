"""Files of results from anybody in a report: a row from predictions alone, with the verdict of a diagnosis."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faster_coco_eval.core import mask as rle

from damamba.datasets.categories import DatasetError, match_categories
from damamba.evaluation.analysis.details import Details, analyse
from damamba.evaluation.annotations import read
from damamba.evaluation.coco_ap import ground_truth, renamed
from damamba.evaluation.diagnosis import diagnose
from damamba.evaluation.diagnosis.columns import as_entries, read_results, read_truth, with_drawn_polygons
from damamba.evaluation.diagnosis.explain import kinds_of
from damamba.evaluation.diagnosis.result_files import read_entries
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
    whole: dict  # what the file holds
    document: dict  # the same of the classes that the runs were tested on, called as they call them
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
        return Truth(annotations, document, document, describe([annotations], names, document.get('info')), [])
    told = next(it for it in alike if it.of_data('sha256') == digest)  # files from before digests have none
    ours = _of_classes(document, classes_of(told.evaluation))
    return Truth(annotations, document, ours, told.get('dataset'), alike)


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


def _row(name: str, file: Path, truth: Truth) -> Run:
    document = truth.document
    kept = {it['id'] for it in document['categories']}
    others = [it['id'] for it in truth.whole['categories'] if it['id'] not in kept]
    written = read_entries(file)
    entries = [it for it in written if it.get('category_id') not in others]
    diagnosis = diagnose(document, entries)
    whole = diagnose(truth.whole, written) if others else diagnosis  # ids of classes left out may be another's, shifted
    told_by = whole if whole.explanations else diagnosis
    verdict = {**told_by.to_dict(), 'sentence': told_by.sentence}
    told = {'split': 'test', 'ann_file': str(truth.file), 'dataset': truth.dataset, 'verdict': verdict}
    run = Run(name, file, TrainingLog())
    result = Result(run, file, '', told, draws=diagnosis.evaluation.draws)
    run.own, run.results = result, [result]
    evaluation = diagnosis.evaluation
    if not result.reasons:
        found = _scorable(document, entries)
        evaluation = replace(evaluation, details=_details(document, found))
        result.examples = _examples(truth, found)
    content = {**told, 'evaluations': {'coco': evaluation.to_dict()}}
    result.content = json.loads(json.dumps(content, default=lambda it: it.item()))  # as it is read from metrics.json
    return run


def _scorable(document: dict, entries: Sequence[dict]) -> dict[str, list[dict]]:
    """Results by kind, as COCO's evaluation takes them."""
    truth = read_truth(document)
    results = with_drawn_polygons(read_results(entries, truth), truth)
    return {kind: as_entries(results, truth, kind) for kind in kinds_of(results, truth)}


def _details(document: dict, found: Mapping[str, Sequence[dict]]) -> Details | None:
    """What is measured beyond COCO's numbers, where pictures say their sizes."""
    if not all(image.get('width') and image.get('height') for image in document['images']):
        return None
    truth = ground_truth(document)
    return analyse(truth, found, truth.getCatIds())


def _examples(truth: Truth, found: Mapping[str, Sequence[dict]]) -> dict | None:
    """The pictures that a run left as examples, with what the file has found in them."""
    left = next((it.examples for it in truth.alike if it.examples), None)
    if not left:
        return None
    by_picture = defaultdict(list)
    for entry in found.get('segm', found.get('bbox', ())):
        if entry['score'] >= LEAST:
            box = entry['bbox'] if 'bbox' in entry else rle.toBbox(entry['segmentation']).tolist()
            by_picture[entry['image_id']].append({**entry, 'bbox': box})
    return left | {'images': [it | {'predictions': by_picture[it['id']]} for it in left['images']]}
