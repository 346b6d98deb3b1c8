"""Files of results from anybody: a row from predictions alone, with the verdict of a diagnosis for a proof."""

import json
from contextlib import redirect_stdout
from io import StringIO

import pytest
from pycocotools.coco import COCO as COCOTruth
from pycocotools.cocoeval import COCOeval

from damamba.reporting.report import make_report
from damamba.reporting.runs import ReportError
from tests.reporting.runs import (
    COCO,
    MIX,
    csv_rows,
    edit,
    hold_against,
    predictions_for,
    tables_of,
    write_ground_truth,
    write_run,
)


@pytest.fixture
def truth(tmp_path):
    return write_ground_truth(tmp_path / 'truth.json')


@pytest.fixture
def run(tmp_path, truth):
    folder = write_run(tmp_path / 'mine')
    hold_against(folder, truth)
    return folder


@pytest.fixture
def theirs(tmp_path, truth):
    path = tmp_path / 'theirs.json'
    path.write_text(json.dumps(predictions_for(truth)))
    return path


def scored(truth, entries, kind: str, category: int | None = None) -> list[float]:
    """mAP, AP50 and AP75 by pycocotools."""
    with redirect_stdout(StringIO()):
        coco = COCOTruth(str(truth))
        other = 'bbox' if kind == 'segm' else 'segmentation'
        found = coco.loadRes([{key: it[key] for key in it if key != other} for it in entries])
        evaluated = COCOeval(coco, found, kind)
        evaluated.params.catIds = [category] if category else coco.getCatIds()
        for step in (evaluated.evaluate, evaluated.accumulate, evaluated.summarize):
            step()
    return evaluated.stats[:3].tolist()


def corners(entries: list[dict]) -> list[dict]:
    """Boxes alone, as x1, y1, x2, y2."""
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (it.pop('bbox') for it in entries)]
    kept = ('image_id', 'category_id', 'score')
    return [{**{key: it[key] for key in kept}, 'bbox': box} for it, box in zip(entries, boxes, strict=True)]


def test_its_row_has_the_figures_of_pycocotools_beside_those_of_the_run(tmp_path, drawn, run, truth, theirs):
    report = make_report([run], tmp_path / 'out', foreign=[('theirs', theirs)])
    mine, row = csv_rows(tmp_path / 'out/comparison.csv')
    assert [it['run'] for it in (mine, row)] == ['mine', 'theirs'] and mine['data set'] == row['data set'] == MIX
    entries = json.loads(theirs.read_text())
    for kind in ('segm', 'bbox'):
        keys = [f'{kind}_{key}' for key in ('mAP', 'mAP_50', 'mAP_75')]
        assert [float(row[key]) for key in keys] == pytest.approx(scored(truth, entries, kind), abs=1e-12)
    assert float(row['Object segm_mAP']) == pytest.approx(scored(truth, entries, 'segm', 1)[0], abs=1e-12)
    assert row['proof'] == 'diagnosed: nothing found' and mine['proof'] == 'proved'
    assert [row[key] for key in ('parameters', 'seconds', 'peak_memory', 'epochs')] == [''] * 4
    assert [it.what for it in report.missing if it.run == 'theirs'] == [
        'its time, memory, number of parameters and training, of which a file of results says nothing'
    ]
    assert not [it for it in report.missing if it.run == 'mine'], 'it is asked for tests that only the file has'
    assert all('theirs' in drawn[name] for name in ('overview', 'figures', 'precision_recall', 'errors', 'examples'))
    assert 'theirs' not in {*drawn['losses'], *drawn['latency']} and 'not proved' not in report.headline
    differences = csv_rows(tmp_path / 'out/differences.csv')
    assert {it['difference low'] != '' for it in differences} == {True}


def test_a_fault_refuses_it_and_the_report_says_what_it_would_score(tmp_path, drawn, run, truth, theirs):
    theirs.write_text(json.dumps(corners(predictions_for(truth))))
    report = make_report([run], tmp_path / 'out', foreign=[('theirs', theirs)])
    (refused,) = report.refusals
    mended = scored(truth, predictions_for(truth), 'bbox')[0]
    assert f'{mended:.3f}' in refused.reasons[0] and refused.run == 'theirs'
    assert refused.command == f'damamba diagnose {theirs} --annotations {truth}'
    assert [row['run'] for row in csv_rows(tmp_path / 'out/comparison.csv')] == ['mine']
    page = (tmp_path / 'out/report.html').read_text()
    assert f'theirs on {MIX}: DIAGNOSED: boxes-xyxy' in page and 'What shows it: <code>damamba diagnose' in page
    (row, *_) = csv_rows(tmp_path / 'out/diagnosis.csv')
    assert row['faults'] == 'boxes-xyxy' and float(row['mAP']) == pytest.approx(mended, abs=1e-3)


def test_files_alone_are_compared_on_the_annotations_that_are_given(tmp_path, drawn, truth, theirs):
    others = tmp_path / 'others.json'
    others.write_text(json.dumps(predictions_for(truth, 1)))
    report = make_report([], tmp_path / 'out', foreign=[('theirs', theirs), ('x', others)], annotations=truth)
    assert [row['run'] for row in csv_rows(tmp_path / 'out/comparison.csv')] == ['theirs', 'x']
    assert report.sections[0].label == 'truth' and 'truth' in tables_of(tmp_path / 'out')
    assert 'examples' not in drawn


def test_other_annotations_make_a_table_of_their_own(tmp_path, drawn, run, truth, theirs):
    other = write_ground_truth(tmp_path / 'other.json', 9)
    report = make_report([run], tmp_path / 'out', foreign=[('theirs', theirs)], annotations=other)
    assert [[it.run.name for it in section.results] for section in report.sections] == [['mine'], ['theirs']]


def test_scores_in_percent_change_no_figure_and_are_said_in_the_row(tmp_path, drawn, run, truth, theirs):
    entries = predictions_for(truth)
    theirs.write_text(json.dumps([{**it, 'score': 100 * it['score']} for it in entries]))
    report = make_report([run], tmp_path / 'out', foreign=[('theirs', theirs)])
    _, row = csv_rows(tmp_path / 'out/comparison.csv')
    assert row['proof'].startswith('DIAGNOSED: scores-') and not report.refusals
    assert float(row['segm_mAP']) == pytest.approx(scored(truth, entries, 'segm')[0], abs=1e-12)


def test_only_the_classes_of_the_run_count_and_they_have_its_names(tmp_path, drawn, run, truth, theirs):
    document = json.loads(truth.read_text())
    document['categories'] += [dict(id=3, name='hand')]
    document['annotations'][0]['category_id'] = 3
    document['categories'][0]['name'] = 'OBJECT'
    truth.write_text(json.dumps(document))
    hold_against(run, truth)
    edit(run, {f'{COCO}.objects': 23})
    theirs.write_text(json.dumps([*predictions_for(truth), dict(predictions_for(truth)[0], category_id=3)]))
    make_report([run], tmp_path / 'out', foreign=[('theirs', theirs)])
    _, row = csv_rows(tmp_path / 'out/comparison.csv')
    assert float(row['Object segm_mAP']) == pytest.approx(
        scored(truth, predictions_for(truth), 'segm', 1)[0], abs=1e-12
    )


def test_the_pictures_of_a_run_show_what_the_file_has_found_in_them(tmp_path, run, truth, theirs):
    report = make_report([run], tmp_path / 'out', foreign=[('theirs', theirs)])
    found = report.runs[1].own.examples
    assert found['folder'] == run and [it['id'] for it in found['images']] == [1, 2]
    told = {it['id']: [entry['score'] for entry in it['predictions']] for it in found['images']}
    entries = json.loads(theirs.read_text())
    assert told == {n: [it['score'] for it in entries if it['image_id'] == n] for n in (1, 2)}
    assert (tmp_path / f'out/{MIX}-examples.png').is_file()


def test_what_can_be_mended_is_one_sentence(tmp_path, run, truth, theirs):
    def refused(words, named, annotations=None, folders=(run,)):
        with pytest.raises(ReportError, match=words) as caught:
            make_report(list(folders), tmp_path / 'out', foreign=named, annotations=annotations)
        assert '\n' not in str(caught.value) and not (tmp_path / 'out').exists()

    broken = tmp_path / 'broken.json'
    for content in ('[{', '{"images": []}', '[1]', 'null'):
        broken.write_text(content)
        refused('broken.json', [('theirs', broken)])
    refused('nowhere.json does not exist', [('theirs', tmp_path / 'nowhere.json')])
    refused('--annotations: .*nowhere.json does not exist', [('theirs', theirs)], tmp_path / 'nowhere.json')
    refused('two runs have the name mine: tell them apart with another one in --results', [('mine', theirs)])
    refused('two runs have the name a', [('a', theirs), ('a', theirs)])
    refused('no run says what it was tested on; give .* --annotations', [('theirs', theirs)], folders=())
    truth.write_text(truth.read_text() + ' ')
    refused('is not what it was when the runs were tested on it; give .* --annotations', [('theirs', theirs)])
    truth.unlink()
    refused('which is not there; give .* --annotations', [('theirs', theirs)])
    edit(run, {'dataset.sha256': None})
    refused('no run says what it was tested on', [('theirs', theirs)])
