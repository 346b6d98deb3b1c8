"""No fault is claimed of honest results, however weak or odd."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from damamba.evaluation.diagnosis import diagnose
from tests.evaluation.diagnosis.cases import document, good
from tests.evaluation.diagnosis.detectors import WEAK, detect
from tests.evaluation.diagnosis.honest import HONEST
from tests.evaluation.diagnosis.odd import ODD
from tests.evaluation.diagnosis.sabotage.masks import by_score, flatten
from tests.evaluation.diagnosis.stored import truth_of, unpack

STORED = sorted((Path(__file__).parent / 'honest').glob('*.json.gz'))


LONG = [pytest.mark.e2e, pytest.mark.long]  # all kinds on all sets take minutes
SETS = ('shapes', 'totes', 'gaps', 'coco')


def cases(kinds: Iterable[str], names: Sequence[str]) -> list:
    """Each kind on each set; one of them is quick."""
    return [
        pytest.param(kind, name, marks=() if i % len(names) == j else LONG)
        for i, kind in enumerate(kinds)
        for j, name in enumerate(names)
    ]


@pytest.mark.parametrize(('kind', 'name'), cases(HONEST, SETS))
def test_honest_results_have_no_fault(kind, name, request):
    if name == 'coco':
        request.getfixturevalue('shared')
    entries = HONEST[kind](document(name), np.random.default_rng(1))
    assert diagnose(document(name), entries).to_dict()['explanations'] == []


@pytest.mark.parametrize(('kind', 'name'), cases(ODD, SETS[:3]))
def test_odd_annotations_are_no_fault(kind, name):
    annotations, entries = ODD[kind](document(name), np.random.default_rng(1))
    assert diagnose(annotations, entries).to_dict()['explanations'] == []


@pytest.mark.parametrize('file', STORED, ids=lambda file: file.name.removesuffix('.json.gz'))
def test_trained_models_have_no_fault(file):
    entries = unpack(file.read_bytes(), file.name)
    assert diagnose(truth_of(file.name), entries).to_dict()['explanations'] == []


def test_disjoint_masks_are_no_fault_where_no_objects_overlap():
    entries = flatten(good('shapes'), document('shapes'), None, by_score)
    assert diagnose(document('shapes'), entries).to_dict()['explanations'] == []


def test_a_weak_detector_in_crowded_pictures_is_not_limited():
    entries = detect(document('crowded'), WEAK, np.random.default_rng(1))
    assert diagnose(document('crowded'), entries).to_dict()['explanations'] == []


@pytest.mark.parametrize('name', ['shapes', 'totes', 'gaps'])
def test_good_results_have_no_fault(name):
    assert diagnose(document(name), good(name)).to_dict()['explanations'] == []
