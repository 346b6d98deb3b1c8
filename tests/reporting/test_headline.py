"""One sentence says who leads, by how much, or why nobody does; and why runs may not be comparable."""

import re

import pytest

from damamba.reporting.ground_truth import sections_of
from damamba.reporting.report import headline_of
from damamba.reporting.runs import read_runs
from tests.reporting.runs import FOCUS, edit, three, write_draws

NAN, INF = float('nan'), float('inf')
WHAT = 'mask mAP of Object on mix-object-tote'


def headline(folders, values=(), swings=(0, 0, 0), **changes) -> str:
    for folder, value, swing in zip(folders, values, swings, strict=False):
        edit(folder, {FOCUS: value})
        write_draws(folder, swing)
    for key, of_runs in changes.items():
        for folder, value in zip(folders, of_runs, strict=True):
            edit(folder, {key: value})
    return headline_of(sections_of(read_runs(folders)))


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ((0.5, 0.25, 0.1), 'first leads in {}: 0.500, 0.250 ahead of second (95 %: 0.250 to 0.250).'),
        ((0.1, 0.5, 0.4999), 'second leads in {}: 0.500, less than 0.001 ahead of third (95 %: 0.000 to 0.000).'),
        ((0.5, 0.1, 0.5), 'Nobody leads in {}: first and third share the highest, 0.500.'),
        ((0.5, -1.0, -1.0), 'One run has figures of {}: there is nothing to compare.'),
        ((NAN, 0.25, 0.5), 'third leads in {}: 0.500, 0.250 ahead of second (95 %: 0.250 to 0.250).'),
        ((INF, NAN, -1.0), 'No run has figures of {}: there is nothing to compare.'),
        ((0.0, 0.0001, 0.009), 'Nobody leads in {}: no run has found anything to speak of, 0.009 at best.'),
    ],
)
def test_it_says_who_leads_and_by_how_much(tmp_path, values, words):
    assert headline(three(tmp_path), values) == words.format(WHAT)


def test_nobody_leads_whose_difference_may_be_chance_and_it_says_how_many_pictures_would_tell(tmp_path):
    """Of draws spread evenly from -0.1 to 0.3, 95 % lie between -0.09 and 0.29; of those from 0 to 0.2, all above 0."""
    folders = three(tmp_path)
    assert headline(folders, (0.5, 0.4, 0.1), (0.1, 0, 0)).startswith(f'first leads in {WHAT}: 0.500, 0.100 ahead of ')
    told = headline(folders, (0.5, 0.4, 0.1), (0.2, 0, 0))
    assert told.startswith(
        f'Nobody leads in {WHAT}: first 0.500 and second 0.400 differ by 0.100 (95 %: -0.090 to 0.290)'
    )
    assert re.search('; about 3,9\\d\\d more pictures like these would tell.$', told)  # 1500 (1.9^2 - 1)
    told = headline(folders, (0.5, 0.4, 0.1), (1, 0, 0))
    assert told.endswith(' would tell. Nor is first clearly ahead of third 0.100.')
    assert headline(folders, (0.5, 0.49999, 0.1), (0.2, 0, 0)).endswith(
        '; more than a million would be needed to tell.'
    )


def test_without_draws_of_all_nobody_is_said_to_lead(tmp_path):
    folders = three(tmp_path)
    headline(folders, (0.5, 0.4, 0.1))
    for broken in (b'', b'PK', None):
        (folders[2] / 'draws.npz').unlink() if broken is None else (folders[2] / 'draws.npz').write_bytes(broken)
        told = f'Nobody is said to lead in {WHAT}: first 0.500 and third 0.100 may differ by chance'
        assert headline_of(sections_of(read_runs(folders))).startswith(told)
    assert headline(folders[:2], (0.5, 0.4)).startswith('first leads')


def test_it_says_what_lacks_a_proof_of_those_who_lead_and_the_next(tmp_path):
    folders = three(tmp_path)
    words = ' The evaluation of first and second is not proved.'
    assert headline(folders, (0.5, 0.4, 0.3), proof=[None] * 3).endswith(words)
    assert 'of first, second and third is' in headline(folders, (0.5, 0.5, 0.3))


def test_it_says_that_trainings_were_of_unlike_lengths(tmp_path):
    checkpoints = [f'work_dirs/mine/epoch_{epoch}.pth' for epoch in (2, 1, 12)]
    words = r' They were not trained alike: second for 1 epoch, third for 12 epochs\.$'
    told = headline(three(tmp_path), (0.1, 0.5, 0.4), checkpoint=checkpoints)
    assert re.search(r'0\.100 ahead of third \(95 %: 0\.100 to 0\.100\)\.' + words, told)
