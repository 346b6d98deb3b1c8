"""One sentence says who leads, by how much, and why runs may not be comparable."""

import pytest

from damamba.reporting.ground_truth import sections_of
from damamba.reporting.report import headline_of
from damamba.reporting.runs import read_runs
from tests.reporting.runs import FOCUS, edit, three

NAN, INF = float('nan'), float('inf')


def headline(folders, values=(), **changes) -> str:
    for folder, value in zip(folders, values, strict=False):
        edit(folder, {FOCUS: value})
    for key, of_runs in changes.items():
        for folder, value in zip(folders, of_runs, strict=True):
            edit(folder, {key: value})
    return headline_of(sections_of(read_runs(folders)))


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ((0.5, 0.25, 0.1), 'first leads in {}: 0.500, 0.250 ahead of second.'),
        ((0.1, 0.5, 0.4999), 'second leads in {}: 0.500, less than 0.001 ahead of third.'),
        ((0.5, 0.1, 0.5), 'first and third share the highest {}, 0.500.'),
        ((0.5, -1.0, -1.0), 'One run has figures of {}: there is nothing to compare.'),
        ((NAN, 0.25, 0.5), 'third leads in {}: 0.500, 0.250 ahead of second.'),
        ((INF, NAN, -1.0), 'No run has figures of {}: there is nothing to compare.'),
    ],
)
def test_it_says_who_leads_and_by_how_much(tmp_path, values, words):
    assert headline(three(tmp_path), values) == words.format('mask mAP of Object on mix-object-tote')


def test_it_says_what_lacks_a_proof_of_those_who_lead_and_the_next(tmp_path):
    folders = three(tmp_path)
    words = ' The evaluation of first and second is not proved.'
    assert headline(folders, (0.5, 0.4, 0.3), proof=[None] * 3).endswith(words)
    assert 'of first, second and third is' in headline(folders, (0.5, 0.5, 0.3))


def test_it_says_that_trainings_were_of_unlike_lengths(tmp_path):
    checkpoints = [f'work_dirs/mine/epoch_{epoch}.pth' for epoch in (2, 1, 12)]
    words = ' They were not trained alike: second for 1 epoch, third for 12 epochs.'
    assert headline(three(tmp_path), (0.1, 0.5, 0.4), checkpoint=checkpoints).endswith(f'0.100 ahead of third.{words}')
