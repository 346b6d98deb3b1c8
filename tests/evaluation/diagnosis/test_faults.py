"""Each known fault, made of good results in several ways, is named first, with what the results score without it."""

from collections import defaultdict

import numpy as np
import pytest

from damamba.evaluation.diagnosis import diagnose
from tests.evaluation.diagnosis.cases import document, good, unharmed
from tests.evaluation.diagnosis.plain import plain
from tests.evaluation.diagnosis.sabotage import VARIANTS

LONG = [pytest.mark.e2e, pytest.mark.long]  # all ways on all sets take minutes


def quick_cases() -> set[tuple[str, str]]:
    """(way, set): each way on one of its sets, and those of a fault on as many as there are."""
    groups = defaultdict(list)
    for variant in VARIANTS:
        groups[variant.faults].append(variant)
    return {(way.id, way.sets[i % len(way.sets)]) for ways in groups.values() for i, way in enumerate(ways)}


QUICK = quick_cases()
CASES = [
    pytest.param(variant, name, id=f'{variant.id}-{name}', marks=() if (variant.id, name) in QUICK else LONG)
    for variant in VARIANTS
    for name in variant.sets
]


@pytest.mark.parametrize(('variant', 'name'), CASES)
def test_a_fault_is_named(variant, name, request):
    if name == 'coco':
        request.getfixturevalue('shared')
    entries, spoilt = variant.spoil(good(name), document(name), np.random.default_rng(3))
    found = diagnose(spoilt, entries).to_dict()
    as_given = None if 'scores-missing' in variant.faults else plain(spoilt, entries)
    if as_given:
        shown = {kind: found['figures'][f'{kind}_mAP'] for kind in as_given}
        assert shown == pytest.approx(as_given, abs=1e-6)
    assert found['explanations'], 'nothing explains it'
    first = found['explanations'][0]
    assert {frozenset(first['faults'])} <= {frozenset(faults) for faults in (variant.faults, *variant.others)}, first
    assert first['kind'] in variant.kinds and first['sentence']
    check_mend(variant, first, unharmed(variant, name, spoilt, entries), as_given)


def check_mend(variant, first, wanted, as_given):
    """Exact where nothing is lost; where something is, half of the way, or no figure at all."""
    kind, value = first['kind'], first['mAP']
    if variant.mend == 'exact':
        assert value == pytest.approx(wanted[kind], abs=0.01)
    elif value is not None:
        least = as_given[kind] if as_given else 0
        half = 0.5 * (wanted[kind] - least) if variant.mend == 'bound' else 0
        assert value >= least + half - 1e-9  # of sums in another order
