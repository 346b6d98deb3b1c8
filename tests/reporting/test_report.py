"""The report: its figures are those of metrics.json, what is missing is named, and a browser shows all of it."""

import json
import random
import re
import shutil
from html import unescape

import pytest

from damamba.reporting import charts
from damamba.reporting.report import make_report
from damamba.reporting.runs import ReportError
from tests.browser import browser, open_page
from tests.reporting.runs import (
    CHARTS,
    COCO,
    FAULTS,
    MIX,
    SAME,
    ZOOMED,
    csv_rows,
    edit,
    hold_against,
    load,
    predictions_for,
    proof,
    speed,
    tables_of,
    three,
    write_examples,
    write_ground_truth,
)


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


def page(out) -> str:
    return unescape((out / 'report.html').read_text(encoding='utf-8'))


def measured(folder) -> dict:
    return load(folder)['evaluations']['coco']


def test_csv_has_the_figures_of_metrics_json_to_the_last_digit(tmp_path, out, drawn):
    folders = three(tmp_path, (ZOOMED,))
    make_report(folders, out)
    tests = {(f.name, MIX): f for f in folders} | {(f.name, ZOOMED): f / ZOOMED for f in folders}
    rows = csv_rows(out / 'comparison.csv')
    assert [(row['run'], row['data set']) for row in rows] == [*tests]
    for row, folder in zip(rows, tests.values(), strict=True):
        content, scores = load(folder), measured(folder)['scores']
        told = {f'{kind}_{key}': scores[kind]['values'][key] for kind in scores for key in ('mAP', 'mAP_50', 'mAP_75')}
        told |= {f'Object segm_{key}': scores['segm']['classes']['Object'][key] for key in ('mAP', 'mAP_50', 'AR@100')}
        told |= {'seconds': content['speed']['overall']['median'], 'peak_memory': content['speed']['peak_memory']}
        assert {key: row[key] for key in told} == {key: repr(value) for key, value in told.items()}
        assert (row['epochs'], row['proof']) == ('2', 'proved')
    classes = csv_rows(out / 'classes.csv')
    assert len(classes) == 6 * 2 * 2  # tests, kinds, classes
    for row in classes:
        told = measured(tests[row['run'], row['data set']])['scores'][row['kind']]['classes'][row['class']]
        assert {name: row[name] for name in told} == {name: repr(value) for name, value in told.items()}


def test_the_details_in_csv_are_those_of_metrics_json(tmp_path, out, drawn):
    folder, *_ = folders = three(tmp_path)
    make_report(folders, out)
    kinds = measured(folder)['details']['kinds']
    recalls = {key: it for key, it in measured(folder)['scores']['bbox']['classes']['Object'].items() if 'AR' in key}
    shares = {f'relative {key}': it for key, it in kinds['bbox']['sizes']['classes']['Object'].items() if 'mAP' in key}
    parts = {'errors': kinds['bbox']['errors']['classes']['Object'], 'sizes': shares, 'recall': recalls}
    for name, told in parts.items():
        row = next(it for it in csv_rows(out / f'{name}.csv') if (it['run'], it['kind']) == ('first', 'bbox'))
        assert {key: row[key] for key in told} == {key: repr(it) for key, it in told.items()}
        assert row['class'] == 'Object'
    latency, rates = csv_rows(out / 'latency.csv')[0], csv_rows(out / 'segmentation.csv')[0]
    told = load(folder)['speed']
    times = {f'{name} {part}': it for name, of_bin in told['bins'].items() for part, it in of_bin.items()}
    times |= told['overall']
    assert {key: latency[key] for key in times} == {key: repr(it) for key, it in times.items()}
    assert (rates['under rate'], rates['objects']) == (repr(4 / 38), '40')


def test_first_picks_are_shown_of_the_data_sets_and_the_runs_that_have_them(tmp_path, out, drawn):
    folders = three(tmp_path, (ZOOMED,))
    for folder in (folders[2], *(it / ZOOMED for it in folders)):
        edit(folder, {f'{COCO}.details.kinds.segm.picks': ...})
    report = make_report(folders, out)
    (topic,) = [it for it in report.topics if it.anchor == 'picks']
    (block,) = topic.blocks
    assert block.title.startswith(MIX) and [*block.notes] == ['Not measured: third.']
    for row, folder in zip(csv_rows(out / 'picks.csv'), folders[:2], strict=True):
        told = measured(folder)['details']['kinds']['segm']['picks']['values']
        assert row['run'] == folder.name and {key: row[key] for key in told} == {k: repr(it) for k, it in told.items()}


def test_the_page_has_every_digit_behind_three_and_no_number_that_no_run_left(tmp_path, out, drawn):
    folders = three(tmp_path)
    make_report(folders, out)
    table = tables_of(out)[MIX][2:]
    for row, folder in zip(table, folders, strict=True):
        scores = measured(folder)['scores']
        expected = [scores['segm']['classes']['Object'][key] for key in ('mAP', 'mAP_50', 'AR@100')]
        expected += [scores[kind]['values'][key] for kind in ('segm', 'bbox') for key in ('mAP', 'mAP_50', 'mAP_75')]
        expected.append(load(folder)['speed']['overall']['median'])
        assert [value for _, value in row[2:12]] == [repr(value) for value in expected]
        assert [text.removesuffix(' (best)') for text, _ in row[2:12]] == [f'{value:.3f}' for value in expected]
        assert row[0][0] == folder.name and row[1][1] == str(load(folder)['parameters'])
    best = max(float(row[2][1]) for row in table)
    assert [float(row[2][1]) for row in table if '(best)' in row[2][0]] == [best]
    seconds = [float(row[11][1]) for row in table]
    assert [float(row[11][1]) for row in table if '(best)' in row[11][0]] == [min(seconds)]
    assert f'**{best:.3f}**' in (out / 'report.md').read_text()
    left = ' '.join(path.read_text() for folder in folders for path in folder.rglob('*.json'))
    shown = re.findall(r'<data value="([^"]*)"', page(out))
    told = [load(folder)['evaluations']['coco']['scores'] for folder in folders]
    maps = [[it[kind]['classes']['Object']['mAP'] for it in told] for kind in ('segm', 'bbox')]
    apart = {repr(a - b) for of in maps for a in of for b in of if a > b}  # the only figures that are made here
    assert len(shown) > 100 and apart <= {*shown}
    assert {*shown} - apart <= {*re.findall(r'-?\d+\.?\d*(?:e-\d+)?', left), '2'}  # 2 epochs, by a name


def test_headings_stand_above_their_figures(tmp_path, out, drawn):
    folder, *_ = folders = three(tmp_path)
    make_report(folders, out)
    scores, details = (measured(folder)[it] for it in ('scores', 'details'))
    by_pixels, by_share = scores['bbox']['classes']['Object'], details['kinds']['bbox']['sizes']['classes']['Object']
    sizes, overall, bins = ('_s', '_m', '_l'), *(load(folder)['speed'][it] for it in ('overall', 'bins'))
    for title, groups, headings, values in (
        (
            f'AP by size, boxes, Object: {MIX}',
            ['by pixels (32², 96²)', 'by share of the picture'],
            ['small', 'medium', 'large'] * 2,
            [it[f'mAP{size}'] for it in (by_pixels, by_share) for size in sizes],
        ),
        (
            f'Recall, boxes, Object: {MIX}',
            ['by size'],
            ['AR@1', 'AR@10', 'AR@100', 'small', 'medium', 'large'],
            [by_pixels[f'AR{it}'] for it in ('@1', '@10', '@100', *(f'{size}@100' for size in sizes))],
        ),
        (
            f'Seconds a picture: {MIX}',
            ['by objects in a picture'],
            ['all pictures', '90 % mark', '5-10', '10-15', '100+', 'peak memory'],
            [*overall.values()][1:] + [bins[it]['median'] for it in ('5-10', '10-15', '100+')],
        ),
    ):
        above, below, row, *_ = tables_of(out)[title]
        assert [text for text, _ in above if text] == groups and [text for text, _ in below[1:]] == headings
        assert [value for _, value in row[1 : len(values) + 1]] == [repr(value) for value in values]


def test_what_was_nothing_to_find_or_is_no_number_is_a_dash(tmp_path, out):
    folders = three(tmp_path)
    nothing = float('nan')
    edit(folders[0], {f'{COCO}.scores.segm.classes.Tote.mAP': nothing, 'speed.overall.median': nothing})
    make_report(folders, out, focus='Tote')
    assert tables_of(out)[MIX][2][2] == ['-', 'nan'] and '<data value="-1.0">-</data>' in page(out)
    assert csv_rows(out / 'sizes.csv')[0]['mAP_s'] == '-1.0'


@pytest.mark.parametrize(
    ('gone', 'named', 'undrawn'),
    [
        ('*/vis_data/scalars.json', 'the log of its training', {'losses', 'validation'}),
        ('metrics.json', 'a test: no row in the tables', {*CHARTS} - {'losses', 'validation'}),
        ('examples.json', f'the example pictures of {MIX}', {'examples'}),
    ],
)
def test_what_was_deleted_is_named_and_the_rest_stays(tmp_path, out, drawn, gone, named, undrawn):
    folders = three(tmp_path)
    next(folders[1].glob(gone)).unlink()
    (missing,) = make_report(folders, out).missing
    assert missing.run == 'second' and named in missing.what and missing.command
    for text in (page(out), (out / 'report.md').read_text().replace('\\', '')):
        assert named in text and missing.command in text
    assert {name for name in CHARTS if 'second' not in drawn[name]} == undrawn
    assert all({'first', 'third'} <= {*drawn[name]} for name in CHARTS)
    rows = [row['run'] for row in csv_rows(out / 'comparison.csv')]
    assert rows == [name for name in ('first', 'second', 'third') if (name, gone) != ('second', 'metrics.json')]


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'proof': proof(False)}, 'ground truth scores 1.000: mask mAP: 0.870'),
        ({f'{COCO}.faults': FAULTS}, 'shifted: 9 of 9 detections have the next id'),
    ],
)
def test_a_refused_run_has_no_row_and_no_bar_and_the_report_says_why(tmp_path, out, drawn, changes, reason):
    folders = three(tmp_path)
    edit(folders[1], changes)
    report = make_report(folders, out)
    for name in ('comparison', 'sizes', 'recall', 'latency', 'errors', 'segmentation', 'classes', 'published'):
        runs = {row['run'] for row in csv_rows(out / f'{name}.csv')}
        assert 'second' not in runs and {'first', 'third'} <= runs
    assert {name for name in drawn if 'second' in drawn[name]} == {'losses'} and 'second' not in report.headline
    assert 'id="refused"' in page(out) and reason in page(out) and 'second has no row' in page(out)
    captions = {caption for caption, rows in tables_of(out).items() if 'second' in str(rows)}
    assert captions == {'Trainings and tests', 'Versions'}
    assert [(it.run, it.reasons) for it in report.refusals] == [('second', [reason])]
    assert ('NO' in [row['holds'] for row in csv_rows(out / 'proof.csv')]) == ('proof' in changes)
    assert page(out).count('<details open><summary>second') == ('proof' in changes)


def test_where_all_are_refused_no_figure_is_shown_and_of_a_validation_no_curve(tmp_path, out, drawn):
    folders = three(tmp_path)
    for folder in folders[:2]:
        edit(folder, {'proof': proof(False)})
    edit(folders[2], {'split': 'val', 'epoch': 2, f'{COCO}.faults': FAULTS})
    report = make_report(folders, out)
    assert report.headline == 'No run has figures that count.' and not (out / 'comparison.csv').exists()
    assert {*drawn} == {'losses'} and report.refusals[2].dataset == f'the validation on {MIX}'


def test_a_test_without_a_proof_keeps_its_row_and_is_marked(tmp_path, out, drawn):
    folders = three(tmp_path)
    edit(folders[0], {'proof': None})
    (missing,) = make_report(folders, out).missing
    assert [row['proof'] for row in csv_rows(out / 'comparison.csv')] == ['not proved', 'proved', 'proved']
    assert 'the proof of the evaluation' in missing.what and 'Not proved: first.' in page(out)


def test_runs_on_other_ground_truth_have_a_table_of_their_own(tmp_path, out, drawn):
    folders = three(tmp_path)
    edit(folders[1], {'dataset.sha256': 'b' * 64})
    report = make_report(folders, out)
    assert [[it.run.name for it in section.results] for section in report.sections] == [['first', 'third'], ['second']]
    assert 'have a table of their own' in page(out) and 'second' not in report.headline
    assert 'SHA-256 bbbbbbbb' in page(out)


def test_unlike_devices_and_versions_are_said_and_times_are_not_marked(tmp_path, out, drawn):
    folders = three(tmp_path)
    edit(folders[0], {'speed': speed(random.Random(0), 'a GPU'), 'versions': {'torch': '2.10.0'}})
    make_report(folders, out)
    assert len(re.findall('were not measured alike.*first: a GPU.*second: a CPU', page(out))) == 2  # at both tables
    assert re.findall('different versions of (.*)\\.<', page(out)) == ['torch: 2.11.0, 2.10.0']
    tables = tables_of(out)
    assert '(best)' not in str([row[11:13] for row in tables[MIX][2:]]) + str(tables[f'Seconds a picture: {MIX}'])


def test_names_are_text_wherever_they_stand(tmp_path, out, drawn):
    name = '<script>alert(1)</script> & "ünï" | x'
    make_report(three(tmp_path), out, [name, 'a b', 'b\ufdd0'], title='<b>Totes</b>')
    text = (out / 'report.html').read_text(encoding='utf-8')
    assert '<script' not in text and '<b>' not in text and "default-src 'none'" in text
    assert name in [row[0][0] for row in tables_of(out)[MIX]]
    assert csv_rows(out / 'comparison.csv')[0]['run'] == name
    markdown = (out / 'report.md').read_text(encoding='utf-8')
    assert '\\<script\\>' in markdown and not re.search(r'(?<!\\)<script', markdown)
    assert text.count('a font with the letters \ufdd0,') == 1


def test_the_page_needs_nothing_beside_it_and_an_earlier_report_leaves_nothing(tmp_path, out, drawn):
    folders = three(tmp_path, (ZOOMED,))
    make_report(folders, out)
    images = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="[^"]+" width="4" height="3">', page(out))
    pictures = sorted(path.name for path in out.glob('*.png'))
    folded = re.findall('<details><summary>(.*?)</summary>', page(out))
    assert folded.count(ZOOMED) == 10 and MIX not in folded, 'what is not of the main data set opens at a click'
    assert len(images) == len(pictures) == 3 + 2 * 8 == page(out).count('<img')
    links = re.findall(r'(?:href|src)="(?!data:|#)([^"]*)"', page(out))
    assert {*links} == {path.name for path in out.glob('*.csv')}
    assert sorted(re.findall(r'!\[.*?\]\((.*?)\)', (out / 'report.md').read_text())) == pictures
    for folder in folders:
        shutil.rmtree(folder / ZOOMED)
    make_report(folders, out)
    assert [path for path in out.iterdir() if ZOOMED in path.name] == []


def test_examples_that_are_not_of_one_data_set_are_not_shown_side_by_side(tmp_path, out, drawn):
    folders = three(tmp_path)
    write_examples(folders[0], load(folders[0])['dataset'], ids=(7, 8))
    make_report(folders, out)
    assert 'examples' not in drawn and 'no picture that all have' in page(out)
    write_examples(folders[0], {**load(folders[0])['dataset'], 'sha256': '0' * 64})
    report = make_report(folders, out)
    assert drawn['examples'] == ['second', 'third'] and 'example pictures' in report.missing[0].what


def test_an_error_leaves_the_earlier_report(tmp_path, out, drawn, monkeypatch):
    folders = three(tmp_path)
    make_report(folders, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*arguments, **options):
        raise OSError('the disk is full')

    monkeypatch.setattr(charts, 'draw_errors', full)
    with pytest.raises(ReportError, match='the disk is full'):
        make_report(folders, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(ReportError, match='can not write the report into .*/out'):
        make_report(folders, out / 'report.html/out')


def test_a_browser_shows_every_picture_without_an_error(tmp_path, out):
    browser()
    folders = three(tmp_path, (ZOOMED, SAME))
    edit(folders[1], {'proof': proof(False)})
    hold_against(folders[0], truth := write_ground_truth(tmp_path / 'truth.json'))
    theirs, broken = tmp_path / 'theirs.json', tmp_path / 'broken.json'
    theirs.write_text(json.dumps(predictions_for(truth)))
    broken.write_text(json.dumps([{**it, 'category_id': it['category_id'] - 1} for it in predictions_for(truth)]))
    foreign = [('theirs', theirs), ('<b>', broken)]
    report = make_report(folders, out, ['a', 'b', '<script>throw 1</script>'], foreign=foreign, annotations=truth)
    assert ['a', 'theirs'] in [[it.run.name for it in section.results] for section in report.sections]
    assert [it.run for it in report.refusals] == ['b', '<b>']
    told, console = open_page(out / 'report.html', tmp_path)
    assert len(told['images']) == len([*out.glob('*.png')]) >= 3 + 3 * 8
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
