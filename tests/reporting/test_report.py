"""The report: its figures are those of metrics.json, what is missing is named, and a browser shows all of it."""

import json
import random
import re
import shutil
from html import unescape
from pathlib import Path

import pytest

from damamba.reporting import topics
from damamba.reporting.report import make_report
from damamba.reporting.runs import ReportError
from tests.browser import browser, open_page
from tests.reporting.pages import PICTURES, Tables, page, rows_of, scores_of, three
from tests.reporting.runs import load, metrics, proof, speed, write_examples, write_result

ZOOMED, SAME = 'zoomed-out-tote-transfer-set', 'same-object-transfer-set'
FAULT = {'name': 'shifted', 'evidence': '9 of 9 detections have the next id'}


def test_csv_has_the_figures_of_metrics_json_to_the_last_digit(tmp_path, drawn):
    folders = three(tmp_path, (ZOOMED,))
    make_report(folders, tmp_path / 'out')
    tests = {(f.name, 'mix-object-tote'): f for f in folders} | {(f.name, ZOOMED): f / ZOOMED for f in folders}
    rows = rows_of(tmp_path / 'out/comparison.csv')
    assert [(row['run'], row['data set']) for row in rows] == [*tests]
    for row, folder in zip(rows, tests.values(), strict=True):
        content = load(folder)
        for kind, scores in scores_of(folder).items():
            for key in ('mAP', 'mAP_50', 'mAP_75'):
                assert row[f'{kind}_{key}'] == repr(scores['values'][key])
        for key in ('mAP', 'mAP_50', 'AR@100'):
            assert row[f'Object segm_{key}'] == repr(scores_of(folder)['segm']['classes']['Object'][key])
        assert row['seconds'] == repr(content['speed']['overall']['median'])
        assert row['peak_memory'] == str(content['speed']['peak_memory'])
        assert (row['epochs'], row['proof']) == ('2', 'proved')
    classes = rows_of(tmp_path / 'out/classes.csv')
    assert len(classes) == 6 * 2 * 2  # tests, kinds, classes
    for row in classes:
        told = scores_of(tests[row['run'], row['data set']])[row['kind']]['classes'][row['class']]
        assert {name: row[name] for name in told} == {name: repr(value) for name, value in told.items()}


def test_the_details_in_csv_are_those_of_metrics_json(tmp_path, drawn):
    (folder, *_) = folders = three(tmp_path)
    make_report(folders, tmp_path / 'out')
    content = load(folder)
    kinds = content['evaluations']['coco']['details']['kinds']
    for name, part, kind in (('sizes', 'sizes', 'bbox'), ('errors', 'errors', 'segm')):
        told = kinds[kind][part]['classes']['Object']
        row = next(r for r in rows_of(tmp_path / f'out/{name}.csv') if (r['run'], r['kind']) == ('first', kind))
        prefix = 'relative ' if name == 'sizes' else ''
        keys = [key for key in told if not key.startswith('AR')]
        assert [row[prefix + key] for key in keys] == [repr(told[key]) for key in keys] and row['class'] == 'Object'
    recall = next(r for r in rows_of(tmp_path / 'out/recall.csv') if (r['run'], r['kind']) == ('first', 'bbox'))
    assert recall['AR_l@100'] == repr(scores_of(folder)['bbox']['classes']['Object']['AR_l@100'])
    latency = rows_of(tmp_path / 'out/latency.csv')[0]
    for name, times in content['speed']['bins'].items():
        assert [latency[f'{name} {part}'] for part in times] == [repr(value) for value in times.values()]
    rates = rows_of(tmp_path / 'out/segmentation.csv')[0]
    assert rates['under rate'] == repr(4 / 38) and rates['objects'] == '40'


def test_the_page_has_every_digit_behind_three(tmp_path, drawn):
    folders = three(tmp_path)
    make_report(folders, tmp_path / 'out')
    table = Tables(page(tmp_path / 'out')).tables['mix-object-tote'][2:]
    assert [row[0][0] for row in table] == ['first', 'second', 'third']
    for row, folder in zip(table, folders, strict=True):
        scores, content = scores_of(folder), load(folder)
        focus = [scores['segm']['classes']['Object'][key] for key in ('mAP', 'mAP_50', 'AR@100')]
        means = [scores[kind]['values'][key] for kind in ('segm', 'bbox') for key in ('mAP', 'mAP_50', 'mAP_75')]
        expected = [*focus, *means, content['speed']['overall']['median']]
        cells = row[2:12]
        assert [value for _, value in cells] == [repr(value) for value in expected]
        assert [text.removesuffix(' (best)') for text, _ in cells] == [f'{value:.3f}' for value in expected]
        assert row[1][1] == str(content['parameters'])
    leader = max(folders, key=lambda folder: scores_of(folder)['segm']['classes']['Object']['mAP']).name
    assert [row[0][0] for row in table if '(best)' in row[2][0]] == [leader]
    markdown = (tmp_path / 'out/report.md').read_text()
    assert f'**{max(scores_of(f)["segm"]["classes"]["Object"]["mAP"] for f in folders):.3f}**' in markdown


def test_every_number_of_the_page_is_one_that_a_run_left(tmp_path, drawn):
    folders = three(tmp_path, (ZOOMED,))
    make_report(folders, tmp_path / 'out')
    left = ' '.join(path.read_text() for folder in folders for path in folder.rglob('*.json'))
    numbers = set(re.findall(r'-?\d+\.?\d*(?:e-\d+)?', left)) | {'2'}  # epochs, of the checkpoint's name
    shown = re.findall(r'<data value="([^"]*)"', page(tmp_path / 'out'))
    assert len(shown) > 200 and set(shown) <= numbers


def test_there_was_nothing_to_find_is_a_dash(tmp_path, drawn):
    make_report(three(tmp_path), tmp_path / 'out', focus='Tote')
    assert '<data value="-1.0">-</data>' in page(tmp_path / 'out')
    assert rows_of(tmp_path / 'out/sizes.csv')[0]['mAP_s'] == '-1.0'


@pytest.mark.parametrize(
    ('gone', 'named', 'undrawn'),
    [
        ('*/vis_data/scalars.json', 'the log of its training', ('losses', 'validation')),
        ('metrics.json', 'a test: no row in the tables', ('overview', 'sizes', 'latency', 'errors', 'examples')),
        ('examples.json', 'the example pictures of mix-object-tote', ('examples',)),
    ],
)
def test_what_was_deleted_is_named_and_the_rest_stays(tmp_path, drawn, gone, named, undrawn):
    folders = three(tmp_path)
    (path,) = folders[1].glob(gone)
    path.unlink()
    report = make_report(folders, tmp_path / 'out')
    (missing,) = report.missing
    assert missing.run == 'second' and named in missing.what and missing.command
    for text in (unescape(page(tmp_path / 'out')), (tmp_path / 'out/report.md').read_text().replace('\\', '')):
        assert named in text and missing.command in text
    everyone = set(PICTURES) | {'examples'}
    assert {name for name in everyone if 'second' not in drawn[name]} >= set(undrawn)
    assert all({'first', 'third'} <= set(drawn[name]) for name in everyone)
    rows = [row['run'] for row in rows_of(tmp_path / 'out/comparison.csv')]
    assert rows == [name for name in ('first', 'second', 'third') if (name, gone) != ('second', 'metrics.json')]


def refuse(folder: Path, how: str) -> str:
    content = load(folder)
    if how == 'proof':
        content |= dict(proof=proof(False))
    else:
        content['evaluations']['coco']['faults'] = [FAULT]
    (folder / 'metrics.json').write_text(json.dumps(content))
    return 'ground truth scores 1.000: mask mAP: 0.870' if how == 'proof' else f'shifted: {FAULT["evidence"]}'


@pytest.mark.parametrize('how', ['proof', 'faults'])
def test_a_refused_run_has_no_row_and_no_bar_and_the_report_says_why(tmp_path, drawn, how):
    folders = three(tmp_path)
    reason = refuse(folders[1], how)
    report = make_report(folders, tmp_path / 'out')
    for name in ('comparison', 'sizes', 'recall', 'latency', 'errors', 'segmentation', 'classes', 'published'):
        runs = {row['run'] for row in rows_of(tmp_path / f'out/{name}.csv')}
        assert 'second' not in runs and {'first', 'third'} <= runs
    assert {name for name in drawn if 'second' in drawn[name]} == {'losses'}
    text = unescape(page(tmp_path / 'out'))
    assert 'id="refused"' in text and reason in text and 'second has no row' in text
    captions = {caption for caption, rows in Tables(page(tmp_path / 'out')).tables.items() if 'second' in str(rows)}
    assert captions == {'Trainings and tests', 'Versions'}
    assert 'second' not in report.headline
    (refusal,) = report.page.refusals
    assert (refusal.run, list(refusal.reasons)) == ('second', [reason])
    assert ('NO' in [row['holds'] for row in rows_of(tmp_path / 'out/proof.csv')]) == (how == 'proof')


def test_where_all_are_refused_no_figure_is_shown(tmp_path, drawn):
    folders = three(tmp_path)
    for folder in folders:
        refuse(folder, 'proof')
    report = make_report(folders, tmp_path / 'out')
    assert report.headline == 'No run has figures that count.' and not (tmp_path / 'out/comparison.csv').exists()
    assert set(drawn) == {'losses'}


def test_a_validation_with_faults_has_no_curve(tmp_path, drawn):
    folders = three(tmp_path)
    content = {**metrics(0), 'split': 'val', 'epoch': 2}
    content['evaluations']['coco']['faults'] = [FAULT]
    (folders[1] / 'metrics.json').write_text(json.dumps(content))
    report = make_report(folders, tmp_path / 'out')
    assert drawn['validation'] == ['first', 'third'] and 'the validation on' in report.page.refusals[0].dataset


def test_a_test_without_a_proof_keeps_its_row_and_is_marked(tmp_path, drawn):
    folders = three(tmp_path)
    (folders[0] / 'metrics.json').write_text(json.dumps({**load(folders[0]), 'proof': None}))
    report = make_report(folders, tmp_path / 'out')
    assert [row['proof'] for row in rows_of(tmp_path / 'out/comparison.csv')] == ['not proved', 'proved', 'proved']
    (missing,) = report.missing
    assert 'the proof of the evaluation' in missing.what and missing.command.endswith(
        f'--tag 0 --work-dir {folders[0]} --prove'
    )
    assert 'Not proved: first.' in page(tmp_path / 'out')


def test_runs_on_other_ground_truth_have_a_table_of_their_own(tmp_path, drawn):
    folders = three(tmp_path)
    other = metrics(1)
    other['dataset']['sha256'] = 'b' * 64
    (folders[1] / 'metrics.json').write_text(json.dumps(other))
    report = make_report(folders, tmp_path / 'out')
    assert [[row['run'] for row in sheet.rows] for sheet in report.tables] == [['first', 'third'], ['second']]
    assert 'have a table of their own' in page(tmp_path / 'out') and 'second' not in report.headline
    assert 'SHA-256 bbbbbbbb' in page(tmp_path / 'out')


def test_unlike_devices_and_versions_are_said_and_times_are_not_marked(tmp_path, drawn):

    folders = three(tmp_path)
    versions = {'torch': '2.10.0'}
    content = {**load(folders[0]), 'speed': speed(random.Random(0), 'a GPU'), 'versions': versions}
    (folders[0] / 'metrics.json').write_text(json.dumps(content))
    make_report(folders, tmp_path / 'out')
    text = page(tmp_path / 'out')
    assert 'were not measured alike' in text and 'first: a GPU' in text and 'second: a CPU' in text
    assert 'different versions of torch: 2.11.0, 2.10.0' in text
    tables = Tables(text).tables
    assert '(best)' not in str([row[11:13] for row in tables['mix-object-tote'][2:]])
    assert '(best)' not in str(tables['Seconds a picture: mix-object-tote'])


def test_names_are_text_wherever_they_stand(tmp_path, drawn):
    name = '<script>alert(1)</script> & "ünï" | x'
    folders = three(tmp_path)
    make_report(folders, tmp_path / 'out', [name, 'a b', 'c'], title='<b>Totes</b>')
    text = page(tmp_path / 'out')
    assert '<script' not in text and '<b>' not in text
    assert name in [row[0][0] for row in Tables(text).tables['mix-object-tote']]
    assert rows_of(tmp_path / 'out/comparison.csv')[0]['run'] == name
    markdown = (tmp_path / 'out/report.md').read_text(encoding='utf-8')
    assert '\\<script\\>' in markdown and not re.search(r'(?<!\\)<script', markdown)


def test_the_page_needs_nothing_beside_it(tmp_path, drawn):
    make_report(three(tmp_path, (ZOOMED,)), tmp_path / 'out')
    tables = Tables(page(tmp_path / 'out'))
    assert len(tables.images) == len(list((tmp_path / 'out').glob('*.png'))) == 3 + 2 * 7
    assert all(it['src'].startswith('data:image/png;base64,') and it['alt'] for it in tables.images)
    links = re.findall(r'(?:href|src)="(?!data:|#)([^"]*)"', page(tmp_path / 'out'))
    assert set(links) == {path.name for path in (tmp_path / 'out').glob('*.csv')}
    pictures = re.findall(r'!\[.*?\]\((.*?)\)', (tmp_path / 'out/report.md').read_text())
    assert sorted(pictures) == sorted(path.name for path in (tmp_path / 'out').glob('*.png'))


def test_an_earlier_report_in_the_folder_leaves_nothing(tmp_path, drawn):
    folders, out = three(tmp_path, (ZOOMED,)), tmp_path / 'out'
    make_report(folders, out)
    (out / 'mine.png').touch()
    assert (out / f'{ZOOMED}-sizes.png').exists()
    for folder in folders:
        shutil.rmtree(folder / ZOOMED)
    make_report(folders, out)
    assert not (out / f'{ZOOMED}-sizes.png').exists() and (out / 'mine.png').exists()


def test_examples_that_are_not_of_one_data_set_are_not_shown_side_by_side(tmp_path, drawn):
    folders = three(tmp_path)
    write_examples(folders[0], load(folders[0])['dataset'], ids=(7, 8))
    make_report(folders, tmp_path / 'out')
    assert 'examples' not in drawn and 'no picture that all have' in page(tmp_path / 'out')
    write_examples(folders[0], {**load(folders[0])['dataset'], 'sha256': '0' * 64})
    report = make_report(folders, tmp_path / 'out')
    assert drawn['examples'] == ['second', 'third'] and 'example pictures' in report.missing[0].what


def test_a_picture_that_is_none_is_left_out_and_the_report_is_made(tmp_path):
    folders = three(tmp_path)
    (folders[1] / 'examples/0.jpg').write_bytes(b'no picture')
    report = make_report(folders, tmp_path / 'out')
    assert (tmp_path / 'out/mix-object-tote-examples.png').is_file()
    assert [(it.run, it.what) for it in report.missing] == [
        ('second', f'{folders[1]}/examples/0.jpg, which can not be read')
    ]


def test_two_tests_of_one_run_have_one_row(tmp_path, drawn):
    folders = three(tmp_path)
    write_result(folders[1] / 'mix-object-tote', metrics(7))
    report = make_report(folders, tmp_path / 'out')
    for name in ('comparison', 'errors', 'latency'):
        rows = [row for row in rows_of(tmp_path / f'out/{name}.csv') if row.get('kind') != 'bbox']
        assert [row['run'] for row in rows] == ['first', 'second', 'third']
    errors = load(folders[1])['evaluations']['coco']['details']['kinds']['segm']['errors']['classes']['Object']
    told = next(it for it in rows_of(tmp_path / 'out/errors.csv') if (it['run'], it['kind']) == ('second', 'segm'))
    assert told['missed'] == repr(errors['missed'])
    assert 'second/mix-object-tote' in report.missing[0].what


def test_letters_without_a_font_are_told_once(tmp_path, drawn):
    report = make_report(three(tmp_path), tmp_path / 'out', ['a', 'b\ufdd0\ufdd0', 'c'])
    ((run, what),) = [(it.run, it.what) for it in report.missing]
    assert run == 'b\ufdd0\ufdd0' and 'a font with the letters \ufdd0,' in what


def test_an_error_leaves_the_earlier_report(tmp_path, drawn, monkeypatch):
    folders, out = three(tmp_path), tmp_path / 'out'
    make_report(folders, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*arguments, **options):
        raise OSError('the disk is full')

    monkeypatch.setattr(topics.draw, 'draw_errors', full)
    with pytest.raises(ReportError, match='the disk is full'):
        make_report(folders, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_that_can_not_be_written_is_said(tmp_path, drawn):
    (tmp_path / 'file').touch()
    with pytest.raises(ReportError, match='can not write the report into .*file/out'):
        make_report(three(tmp_path), tmp_path / 'file/out')


def test_a_browser_shows_every_picture_without_an_error(tmp_path):
    browser()
    folders = three(tmp_path, (ZOOMED, SAME))
    refuse(folders[1], 'proof')
    report = make_report(folders, tmp_path / 'out', ['a', 'b', '<script>throw 1</script>'])
    told, console = open_page(tmp_path / 'out/report.html', tmp_path)
    assert len(told['images']) == len(report.page.drawn) == 3 + 3 * 7
    assert all(complete and width > 300 and alt for complete, width, alt in told['images'])
    assert told['problems'] == [] and 'CONSOLE' not in console and told['wide'] <= 0


def test_the_browser_would_tell_of_errors(tmp_path):
    """What the test above relies on."""
    browser()
    (tmp_path / 'broken.html').write_text(
        '<!doctype html><html><head><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        'img-src data:"></head><body><img src="data:image/png;base64,AAAA"><img src="https://x.invalid/a.png"></body></html>'
    )
    told, console = open_page(tmp_path / 'broken.html', tmp_path)
    assert [width for _, width, _ in told['images']] == [0, 0] and len(told['problems']) >= 2 and 'CONSOLE' in console
