"""One sentence says who leads, by how much, and what speaks against comparing."""

import json
from html import unescape
from pathlib import Path

import pytest

from damamba.reporting.report import make_report
from tests.reporting.pages import Tables, page, three
from tests.reporting.runs import load, proof, write_run


def set_map(folder: Path, value: float) -> None:
    content = load(folder)
    content['evaluations']['coco']['scores']['segm']['classes']['Object']['mAP'] = value
    (folder / 'metrics.json').write_text(json.dumps(content))


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ((0.5, 0.25, 0.1), 'first leads in mask mAP of Object on mix-object-tote: 0.500, 0.250 ahead of second.'),
        (
            (0.1, 0.5, 0.4999),
            'second leads in mask mAP of Object on mix-object-tote: 0.500, less than 0.001 ahead of third.',
        ),
        ((0.5, 0.1, 0.5), 'first and third share the highest mask mAP of Object on mix-object-tote, 0.500.'),
        (
            (0.5, -1.0, -1.0),
            'One run has figures of mask mAP of Object on mix-object-tote: there is nothing to compare.',
        ),
    ],
)
def test_one_sentence_says_who_leads_and_by_how_much(tmp_path, drawn, values, words):
    folders = three(tmp_path)
    for folder, value in zip(folders, values, strict=True):
        set_map(folder, value)
    assert make_report(folders, tmp_path / 'out').headline == words
    assert words in unescape(page(tmp_path / 'out'))


def test_a_proof_that_the_next_best_lacks_is_said_too(tmp_path, drawn):
    folders = three(tmp_path)
    for folder, value, proved in zip(folders, (0.5, 0.4, 0.3), (True, False, False), strict=True):
        set_map(folder, value)
        (folder / 'metrics.json').write_text(json.dumps({**load(folder), 'proof': proof() if proved else None}))
    assert make_report(folders, tmp_path / 'out').headline.endswith('The evaluation of second is not proved.')
    (folders[0] / 'metrics.json').write_text(json.dumps({**load(folders[0]), 'proof': None}))
    assert 'The evaluation of first and second is not proved.' in make_report(folders, tmp_path / 'out').headline


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_what_is_no_number_leads_nobody_and_is_a_dash(tmp_path, value):
    folders = three(tmp_path)
    for folder, level in zip(folders, (value, 0.25, 0.5), strict=True):
        set_map(folder, level)
    content = load(folders[0])
    for part in content['evaluations']['coco']['details']['kinds'].values():
        part['errors']['classes']['Object'] = dict.fromkeys(part['errors']['classes']['Object'], value)
    content['speed']['overall'] = dict.fromkeys(content['speed']['overall'], value)
    (folders[0] / 'metrics.json').write_text(json.dumps(content))
    report = make_report(folders, tmp_path / 'out')
    assert report.headline.startswith('third leads') and '0.250 ahead of second' in report.headline
    cells = Tables(page(tmp_path / 'out')).tables['mix-object-tote'][2:]
    assert [row[2][0] for row in cells] == ['-', '0.250', '0.500 (best)'] and cells[0][2][1] == repr(value)


def test_where_no_figure_is_a_number_nobody_leads(tmp_path, drawn):
    folders = three(tmp_path)
    for folder in folders:
        set_map(folder, float('nan'))
    assert make_report(folders, tmp_path / 'out').headline.startswith('No run has figures of mask mAP of Object')


def test_trainings_of_unlike_lengths_are_said_beside_who_leads(tmp_path, drawn):
    folders = three(tmp_path)
    for folder, value, epoch in zip(folders, (0.1, 0.5, 0.4), (2, 1, 12), strict=True):
        set_map(folder, value)
        content = {**load(folder), 'checkpoint': f'work_dirs/mine/epoch_{epoch}.pth'}
        (folder / 'metrics.json').write_text(json.dumps(content))
    headline = make_report(folders, tmp_path / 'out').headline
    assert headline.endswith(
        '0.100 ahead of third. They were not trained alike: second for 1 epoch, third for 12 epochs.'
    )


def test_one_run_leads_nobody(tmp_path, drawn):
    report = make_report([write_run(tmp_path / 'only')], tmp_path / 'out')
    assert 'leads' not in report.headline and '(best)' not in page(tmp_path / 'out')
