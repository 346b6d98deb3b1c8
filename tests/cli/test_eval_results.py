"""Scoring of files: the figures of the run that wrote them, the ground truth as perfect, mistakes in one sentence."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faster_coco_eval import COCO

from damamba.cli import eval_results
from damamba.cli import test as test_command
from damamba.evaluation.results import EvaluationError
from tests.detection import ROOT
from tests.evaluation.detector import Detector, write_detector
from tests.evaluation.helpers import guesses, judged, made_up, truth_as_predictions

KINDS = ('bbox', 'segm')


@pytest.fixture(scope='module')
def detector(tmp_path_factory) -> Detector:
    return write_detector(tmp_path_factory.mktemp('detector'))


@pytest.fixture(scope='module')
def tested(detector, tmp_path_factory) -> Path:
    """The work folder of a test run that measured, and left out.pkl; a second one wrote results.*.json into it."""
    folder = tmp_path_factory.mktemp('tested') / 'run'
    common = [str(detector.config), str(detector.checkpoint), '--work-dir', str(folder)]
    test_command.test([*common, '--eval', *KINDS, '--out', f'{folder}/out.pkl'])
    test_command.test([*common, '--format-only'])
    return folder


def evaluated(*argv) -> dict:
    return eval_results.evaluate(eval_results.parse([str(a) for a in argv])).to_dict()


def measured(tested: Path) -> dict:
    """What the run itself measured."""
    return json.loads((tested / 'metrics.json').read_text())['evaluations']['coco']


def plain(evaluation: dict) -> dict:
    return json.loads(json.dumps(evaluation))


def refused(capsys, *argv) -> str:
    """The last line that a command writes before it ends with status 1."""
    with pytest.raises(SystemExit) as end:
        eval_results.main([str(a) for a in argv])
    shown = capsys.readouterr()
    assert end.value.code == 1 and 'Traceback' not in shown.err
    assert shown.err.splitlines()[-1].startswith('error: ')
    return shown.err.splitlines()[-1]


def test_dumped_predictions_have_the_figures_of_the_run_itself(tested):
    assert measured(tested)['scores']['segm']['values']['mAP'] > 0
    assert plain(evaluated(tested / 'out.pkl')) == measured(tested)  # with the config beside it


@pytest.mark.parametrize('kind', KINDS)
def test_result_files_have_the_figures_of_the_run_itself(tested, kind):
    found = plain(evaluated(tested / f'results.{kind}.json', '--eval', kind))
    expected = {**measured(tested), 'scores': {kind: measured(tested)['scores'][kind]}}
    assert found.pop('faults') in ([], expected.pop('faults'))  # masks that are wrong do not show in boxes alone
    assert found == expected


def test_dumped_predictions_are_of_all_pictures_each_once(tested, detector, tmp_path, capsys):
    """A test of a part of the pictures is no test of all; samplers that fill up repeat some."""
    samples = pickle.loads((tested / 'out.pkl').read_bytes())
    for name, part in (('half', samples[:7]), ('more', samples + samples[:7])):
        (tmp_path / f'{name}.pkl').write_bytes(pickle.dumps(part))
    again = evaluated(tmp_path / 'more.pkl', '--config', detector.config)
    assert plain(again)['scores'] == measured(tested)['scores']
    text = refused(capsys, tmp_path / 'half.pkl', '--config', detector.config)
    assert '7 of the 14 pictures of the ground truth were not tested' in text


def test_a_ground_truth_that_can_not_be_scored_on_has_no_figures(made, tmp_path, capsys):
    crowds = [{**a, 'iscrowd': 1} for a in made_up()['annotations']]
    twice = [*made_up()['categories'], dict(id=11, name='cup')]
    for more, text in ((dict(annotations=crowds), 'are crowds'), (dict(categories=twice), '2 categories called cup')):
        (tmp_path / 'spoilt.json').write_text(json.dumps({**made_up(), **more}))
        assert text in refused(capsys, made['found'], '--ann-file', tmp_path / 'spoilt.json')


def test_the_config_may_be_named_and_its_data_moved(tested, detector, tmp_path):
    shutil.copy(tested / 'out.pkl', tmp_path)
    shutil.move(shutil.copytree(detector.data_root, tmp_path / 'copy'), tmp_path / 'moved')
    named = evaluated(tmp_path / 'out.pkl', '--config', detector.config)
    assert plain(named) == measured(tested)
    moved = ['--config', detector.config, '--cfg-options', f'data_root={tmp_path}/moved']
    assert evaluated(tmp_path / 'out.pkl', *moved) == named
    annotations = tmp_path / 'moved/annotations/instances_val2017.json'
    annotations.write_text(json.dumps({**json.loads(annotations.read_text()), 'annotations': []}))
    with pytest.raises(EvaluationError, match='has nothing to find'):
        evaluated(tmp_path / 'out.pkl', *moved)


def test_a_ground_truth_may_stand_in_for_the_config_s(tested, detector, tmp_path):
    half = json.loads(detector.annotations.read_text())
    half['annotations'] = half['annotations'][::2]
    (tmp_path / 'half.json').write_text(json.dumps(half))
    found = evaluated(tested / 'out.pkl', '--ann-file', tmp_path / 'half.json', '--config', detector.config)
    assert found['objects'] == 14 and list(found['scores']['bbox']['classes']) == ['person', 'bicycle', 'car']


def test_labels_keep_the_classes_of_the_config_beside_the_file(tested, detector, tmp_path):
    """A detector of some of the classes: its labels are not the ground truth's first ones."""
    turned = json.loads(detector.annotations.read_text())
    turned['categories'].sort(key=lambda category: category['name'] in ('person', 'bicycle', 'car'))
    (tmp_path / 'turned.json').write_text(json.dumps(turned))
    found = evaluated(tested / 'out.pkl', '--ann-file', tmp_path / 'turned.json')
    assert found['scores']['bbox']['values'] == measured(tested)['scores']['bbox']['values']


@pytest.fixture
def made(tmp_path) -> dict[str, Path]:
    """A made-up ground truth, and what a fair detector says of it."""
    contents = dict(truth=made_up(), found=guesses(made_up()))
    for name, content in contents.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    return {name: tmp_path / f'{name}.json' for name in contents}


@pytest.mark.parametrize('flags', [[], ['--eval', 'bbox', 'segm']])
def test_a_result_file_with_masks_scores_as_in_pycocotools(made, flags):
    scores = evaluated(made['found'], '--ann-file', made['truth'], *flags)['scores']
    assert list(scores) == ['bbox', 'segm']
    for kind in KINDS:
        stats = judged(made_up(), guesses(made_up()), kind).stats.tolist()
        assert list(scores[kind]['values'].values()) == pytest.approx(stats, abs=1e-6)


def test_eval_chooses_what_is_measured(made):
    assert list(evaluated(made['found'], '--ann-file', made['truth'], '--eval', 'segm')['scores']) == ['segm']


def test_the_figures_go_into_a_file_with_every_digit(made, tmp_path, capsys):
    command = [made['found'], '--ann-file', made['truth'], '--json', tmp_path / 'figures.json']
    eval_results.main([str(a) for a in command])
    content = json.loads((tmp_path / 'figures.json').read_text())
    assert content == plain(evaluated(*command[:3]))
    shown = capsys.readouterr().out
    assert f'{content["scores"]["bbox"]["values"]["mAP"]:.3f}' in shown and 'by class' not in shown


def test_classes_are_shown_when_asked_for(made, capsys):
    eval_results.main([str(made['found']), '--ann-file', str(made['truth']), '--eval-options', 'classwise=True'])
    shown = capsys.readouterr().out
    assert 'Box AP and AR by class' in shown and 'Mask AP and AR by class' in shown and shown.count('red box') == 2


def test_details_are_shown_and_written_when_asked_for(made, tmp_path, capsys):
    command = [made['found'], '--ann-file', made['truth'], '--json', tmp_path / 'figures.json']
    eval_results.main([str(a) for a in command])
    assert 'lost to errors' not in capsys.readouterr().out
    assert 'details' not in json.loads((tmp_path / 'figures.json').read_text())
    eval_results.main([*map(str, command), '--eval-options', 'details=True', 'proposal_nums=[300,1]'])
    shown, content = capsys.readouterr().out, json.loads((tmp_path / 'figures.json').read_text())
    details = content['details']
    assert details['max_dets'] == 300 and list(details['kinds']) == list(KINDS)
    for kind in KINDS:
        base = details['kinds'][kind]['errors']['values']['AP50']
        assert base == pytest.approx(content['scores'][kind]['values']['mAP_50'], abs=1e-9)
    assert shown.count('lost to errors') == shown.count('confusion matrix') == 2 and 'under rate' in shown
    assert shown.count('mAP and its 95 % interval') == 2
    assert 'pick score' not in shown and details['kinds']['segm']['picks'] is None
    eval_results.main([*map(str, command), '--eval-options', 'details=True', 'containers=[cup]'])
    picks = json.loads((tmp_path / 'figures.json').read_text())['details']['kinds']['segm']['picks']['values']
    assert 'pick score' in capsys.readouterr().out and picks['totes'] > 0


def test_plots_are_drawn_into_a_new_folder_and_bring_the_details(made, tmp_path, capsys):
    folder = tmp_path / 'new' / 'plots'
    eval_results.main([str(a) for a in (made['found'], '--ann-file', made['truth'], '--plots', folder)])
    assert sorted(path.name for path in folder.iterdir()) == ['confusion.png', 'errors.png', 'precision_recall.png']
    shown = capsys.readouterr().out
    assert all(f'wrote {path}' in shown for path in folder.iterdir()) and 'lost to errors' in shown


@pytest.fixture(scope='module')
def metrics(detector, tmp_path_factory) -> Path:
    """metrics.json of a run that was tested with details."""
    folder = tmp_path_factory.mktemp('detailed')
    command = [str(detector.config), str(detector.checkpoint), '--work-dir', str(folder), '--eval', *KINDS]
    test_command.test([*command, '--eval-options', 'details=True', '--out', str(folder / 'out.pkl')])
    return folder / 'metrics.json'


def test_figures_of_a_run_are_shown_again_and_their_details_drawn(metrics, tmp_path, capsys):
    content = json.loads(metrics.read_text())['evaluations']['coco']
    content['faults'] = [{'name': 'swapped', 'evidence': 'made up'}]
    (tmp_path / 'other.json').write_text(json.dumps({'evaluations': {'coco': content}}))
    eval_results.main([str(tmp_path / 'other.json'), '--plots', str(tmp_path / 'plots')])
    shown = capsys.readouterr().out
    assert f'{content["scores"]["segm"]["values"]["mAP"]:.3f}' in shown and 'by class' not in shown
    assert 'These figures look wrong. swapped: made up' in shown
    names = ['confusion.png', 'errors.png', 'precision_recall.png']
    assert sorted(path.name for path in (tmp_path / 'plots').iterdir()) == names
    eval_results.main([str(metrics), '--eval-options', 'classwise=True'])
    assert 'Mask AP and AR by class' in capsys.readouterr().out


def test_intervals_of_a_run_are_shown_again_by_class_with_its_details(metrics, capsys):
    (low, high), titles = intervals_of(metrics)['segm'], ['Box mAP and its 95 % interval', 'Mask mAP and its 95 %']
    line = rf'95 % interval of mAP: box \S+ to \S+, mask {low:.3f} to {high:.3f}'
    for options in ([], ['--eval-options', 'details=True']):
        eval_results.main([str(metrics), *options])
        shown = capsys.readouterr().out
        assert re.search(line, shown) and all((title in shown) == bool(options) for title in titles)
    assert f'[{low:.3f}, {high:.3f}]' in shown
    old = json.loads(metrics.read_text())['evaluations']['coco']
    for scores in old['scores'].values():
        del scores['intervals'], scores['class_intervals']
    assert '95 %' not in shown_of({'evaluations': {'coco': old}}, metrics, capsys)


def intervals_of(metrics: Path) -> dict[str, list[float]]:
    scores = json.loads(metrics.read_text())['evaluations']['coco']['scores']
    return {kind: it['intervals']['mAP'] for kind, it in scores.items()}


def shown_of(content: dict, metrics: Path, capsys) -> str:
    path = metrics.with_name('old.json')
    path.write_text(json.dumps(content))
    eval_results.main([str(path), '--eval-options', 'details=True'])
    return capsys.readouterr().out


def test_plots_from_a_file_or_from_its_run_are_the_same(metrics, detector, tmp_path):
    command = [str(metrics.with_name('out.pkl')), '--config', str(detector.config)]
    eval_results.main([*command, '--plots', str(tmp_path / 'own')])
    eval_results.main([str(metrics), '--plots', str(tmp_path / 'again')])
    for path in (tmp_path / 'own').iterdir():
        assert path.read_bytes() == (tmp_path / 'again' / path.name).read_bytes()


def test_figures_without_details_can_not_be_drawn(tested, tmp_path, capsys):
    text = refused(capsys, tested / 'metrics.json', '--plots', tmp_path / 'plots')
    assert text.endswith('metrics.json has no details to draw: test with --eval-options details=True')
    assert not (tmp_path / 'plots').exists()
    (tmp_path / 'metrics.json').write_text('{"evaluations": {}}')
    assert refused(capsys, tmp_path / 'metrics.json').endswith('metrics.json has no figures of boxes or masks')


@pytest.mark.parametrize(
    'flags', [['--eval', 'bbox'], ['--json', 'x.json'], ['--eval-options', 'iou_thrs=0.5'], ['--ann-file', 'x.json']]
)
def test_figures_are_not_scored_again(tested, capsys, flags):
    text = refused(capsys, tested / 'metrics.json', *flags)
    assert text.endswith('scored: it goes with --plots and --eval-options classwise=True details=True alone')


@pytest.mark.parametrize('name', ['out.pkl', 'results.segm.json'])
def test_predictions_for_pictures_of_other_sizes_are_refused(tested, detector, tmp_path, capsys, name):
    content = json.loads(detector.annotations.read_text())
    for image in content['images']:
        image['height'] += 1
    (tmp_path / 'other.json').write_text(json.dumps(content))
    text = refused(capsys, tested / name, '--ann-file', tmp_path / 'other.json')
    assert 'pixels (height x width) for a picture of' in text and 'these predictions are for another data set' in text


@pytest.mark.parametrize('overlaps', ['0.5', '[0.5]', '[0.5,0.9]'])
def test_overlaps_are_chosen(made, overlaps):
    found = evaluated(made['found'], '--ann-file', made['truth'], '--eval-options', f'iou_thrs={overlaps}')
    values = found['scores']['bbox']['values']
    assert values['mAP_50'] == pytest.approx(judged(made_up(), guesses(made_up()), 'bbox').stats[1], abs=1e-6)
    assert 'mAP_75' not in values and (values['mAP'] == values['mAP_50']) == ('0.9' not in overlaps)


@pytest.mark.parametrize('numbers', ['300', '(1,300)', '[300,1]'])
def test_numbers_of_detections_are_chosen(made, numbers):
    found = evaluated(made['found'], '--ann-file', made['truth'], '--eval-options', f'proposal_nums={numbers}')
    recalls = [name for name in found['scores']['bbox']['values'] if name.startswith('AR')]
    assert recalls == ['AR@1'] * ('1' in numbers) + ['AR@300', 'AR_s@300', 'AR_m@300', 'AR_l@300']


def test_an_unknown_option_lists_those_that_there_are(made, capsys):
    with pytest.raises(SystemExit) as end:
        eval_results.parse([str(made['found']), '--eval-options', 'clazzwise=True'])
    assert end.value.code == 2
    assert 'does not know clazzwise; it takes classwise, proposal_nums, iou_thrs, details' in capsys.readouterr().err


def assert_perfect(shown: str) -> None:
    """All that an exact answer can reach is 1.000: AP, and AR of as many detections as there are."""
    figures = re.findall(r'^ *(mAP\S*|AR\S*@100) .* (\S+) +(\S+)$', shown, re.MULTILINE)
    assert len(figures) == 10
    assert {figure for _, *pair in figures for figure in pair} <= {'1.000', '-'}
    assert figures[0] == ('mAP', '1.000', '1.000')


def write_perfect(annotations: Path, path: Path) -> list[str]:
    """Write the ground truth as predictions; return the arguments that score them."""
    path.write_text(json.dumps(truth_as_predictions(COCO(str(annotations)))))
    return [str(path), '--ann-file', str(annotations)]


def test_the_ground_truth_of_real_pictures_is_perfect_as_the_tool_shows_it(shared, tmp_path):
    annotations = shared / 'data/coco_tiny/annotations/instances_val2017.json'
    command = [sys.executable, str(ROOT / 'tools/eval_results.py'), *write_perfect(annotations, tmp_path / 'p.json')]
    done = subprocess.run(command, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0 and 'Traceback' not in done.stderr, done.stderr
    assert_perfect(done.stdout)


def test_a_made_up_ground_truth_is_perfect(made, tmp_path, capsys):
    eval_results.main(write_perfect(made['truth'], tmp_path / 'p.json'))
    assert_perfect(capsys.readouterr().out)


def test_a_file_that_is_missing_is_one_sentence(tmp_path, capsys):
    text = refused(capsys, tmp_path / 'nowhere.pkl', '--ann-file', tmp_path / 'truth.json')
    assert text == f'error: {tmp_path}/nowhere.pkl does not exist; wanted predictions, a .pkl or .json file'


def test_no_config_or_several_beside_the_file_ask_for_one(tested, made, tmp_path, capsys):
    shutil.copy(tested / 'out.pkl', tmp_path)
    wanted = f'error: no config, or several, beside {tmp_path}/out.pkl: say --config, or --ann-file'
    assert refused(capsys, tmp_path / 'out.pkl') == wanted
    (tmp_path / 'a.py').write_text('raise SystemExit("not of a run")\n')
    assert refused(capsys, tmp_path / 'out.pkl') == wanted
    (tmp_path / '20260101_000000').mkdir()
    (tmp_path / '20260101_000000/20260101_000000.log').touch()
    (tmp_path / 'b.py').write_text('')
    assert refused(capsys, tmp_path / 'out.pkl') == wanted


def test_files_that_are_missing_are_named(made, detector, tmp_path, capsys):
    assert 'gone.json does not exist; --ann-file names' in refused(capsys, made['found'], '--ann-file', 'gone.json')
    assert 'gone.py does not exist; wanted a config' in refused(capsys, made['found'], '--config', 'gone.py')
    moved = ['--config', detector.config, '--cfg-options', 'data_root=/gone']
    assert '/gone/annotations/instances_val2017.json' in refused(capsys, made['found'], *moved)


def test_a_config_without_data_to_test_on_is_refused(made, tmp_path, capsys):
    (tmp_path / 'bare.py').write_text('model = dict()\n')
    for more in ([], ['--ann-file', made['truth']]):
        text = refused(capsys, made['found'], '--config', tmp_path / 'bare.py', *more)
        assert 'bare.py has no test_dataloader' in text


def test_predictions_and_a_ground_truth_that_do_not_belong_together_are_refused(tested, made, tmp_path, capsys):
    for name in ('results.segm.json', 'out.pkl'):
        shutil.copy(tested / name, tmp_path)
    text = refused(capsys, tmp_path / 'results.segm.json', '--ann-file', made['truth'])
    assert 'image_ids of the predictions can not be found in the ground truth, such as 1: these predictions are' in text
    few = {'images': [{'id': 1}], 'categories': [{'id': 2, 'name': 'cup'}], 'annotations': []}
    (tmp_path / 'few.json').write_text(json.dumps(few))
    text = refused(capsys, tmp_path / 'out.pkl', '--ann-file', tmp_path / 'few.json')
    assert 'labels from 0 to 2, and the ground truth 1 classes: they do not belong together' in text


def test_a_ground_truth_without_the_classes_of_the_config_is_refused(made, detector, capsys):
    text = refused(capsys, made['found'], '--ann-file', made['truth'], '--config', detector.config)
    assert text.startswith(
        'error: none of the classes (person, bicycle, car) is among the categories (cup, key, red box)'
    )


def test_what_a_file_does_not_hold_can_not_be_measured(made, tmp_path, capsys):
    boxes = [{k: v for k, v in p.items() if k != 'segmentation'} for p in guesses(made_up())]
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
    text = refused(capsys, tmp_path / 'boxes.json', '--ann-file', made['truth'], '--eval', 'bbox', 'segm')
    assert text.endswith('boxes.json has nothing to measure segm of')


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('truth.pkl', b'garbage', 'can not be read: '),
        ('truth.pkl', pickle.dumps([1]), 'does not hold the predictions of a detector'),
        ('bad.json', b'{', 'is no JSON'),
        ('bad.json', json.dumps(made_up()).encode(), 'this is a ground truth'),
        (
            'bad.json',
            b'[{"image_id": 11, "category_id": 2, "score": 1}]',
            'entries without bbox and',
        ),
    ],
)
def test_a_file_of_something_else_is_one_sentence(made, tmp_path, capsys, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in refused(capsys, tmp_path / name, '--ann-file', made['truth'])


@pytest.mark.parametrize('content', ['{', '[]', '{}', '{"images": []}'])
def test_a_ground_truth_of_something_else_is_one_sentence(made, tmp_path, capsys, content):
    (tmp_path / 'wrong.json').write_text(content)
    assert 'wrong.json' in refused(capsys, made['found'], '--ann-file', tmp_path / 'wrong.json')


def test_no_detections_at_all_are_an_map_of_zero(made, tmp_path):
    (tmp_path / 'none.json').write_text('[]')
    scores = evaluated(tmp_path / 'none.json', '--ann-file', made['truth'])['scores']
    assert [set(scores[kind]['values'].values()) for kind in KINDS] == [{0.0}, {0.0}]
