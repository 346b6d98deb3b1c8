"""The command that says why the mAP of a file of results is what it is."""

import copy
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from damamba.cli import diagnose
from damamba.evaluation.diagnosis.mends import FAULTS
from tests.detection import ROOT
from tests.evaluation.diagnosis.detectors import GOOD, detect
from tests.evaluation.helpers import made_up

PROGRAM = """
import runpy, sys
sys.argv = ['tools/diagnose.py', *sys.argv[1:]]
runpy.run_path('tools/diagnose.py', run_name='__main__')
assert not {'torch', 'mmengine', 'mmdet', 'mmcv'} & {name.split('.')[0] for name in sys.modules}
print('without torch')
"""


@pytest.fixture(scope='module')
def truth():
    return made_up(images=16, seed=1)


@pytest.fixture(scope='module')
def found(truth):
    """What a good detector finds."""
    return detect(truth, GOOD, np.random.default_rng(0))


@pytest.fixture
def files(tmp_path, truth):
    """Annotations with their pictures, and a function that writes results beside them."""
    (tmp_path / 'images').mkdir()
    for image in truth['images']:
        cv2.imwrite(str(tmp_path / 'images' / image['file_name']), np.full((240, 320, 3), 90, np.uint8))
    annotations = tmp_path / 'truth.json'
    annotations.write_text(json.dumps(truth))

    def write(content, name='theirs.json'):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return [str(tmp_path / name), '--annotations', str(annotations)]

    return write


def corners(found):
    """Boxes as left, top, right, bottom."""
    return [{**it, 'bbox': [x, y, x + w, y + h]} for it in found for x, y, w, h in [it['bbox']]]


def boxes_alone(found):
    return [{key: value for key, value in it.items() if key != 'segmentation'} for it in found]


def test_the_table_the_sentence_and_what_would_be_are_printed(files, found, capsys):
    diagnose.main(files(corners(boxes_alone(found))))
    shown = capsys.readouterr().out
    size, precision, recall, verdict = shown.split('\n\n')[:4]
    assert size == 'COCO, 16 images, 57 objects' and ' AR@100 ' in recall
    assert precision.splitlines()[0].split() == ['metric', 'IoU', 'area', 'detections', 'box']
    assert verdict.startswith('Box mAP 0.') and '. With boxes read as left, top, right, bottom: 0.' in verdict
    rows = shown.split('\n\nWhat would be without them\n\n')[1].splitlines()
    assert rows[0].split() == ['faults', 'of', 'mAP', 'as', 'given', 'as', 'mended', 'pictures']
    assert rows[2].split()[:2] == ['boxes-xyxy', 'box'] and rows[2].split()[-1] == '16'


def test_an_honest_file_has_its_figures_and_what_costs_most(files, found, capsys):
    diagnose.main(files(found))
    shown = capsys.readouterr().out
    assert 'No known fault explains these figures: what costs mask mAP most are ' in shown
    assert 'What would be without them' not in shown and not any(f' {fault} ' in shown for fault in FAULTS)


def test_json_is_nothing_but_json_and_the_best_comes_first(files, found, capsys):
    shifted = [{**it, 'category_id': it['category_id'] + 7} for it in corners(boxes_alone(found))]
    picture = files(shifted)[0].replace('theirs.json', 'drawn/picture.png')
    diagnose.main([*files(shifted), '--json', '--picture', picture])
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == '' and sorted(told) == ['explanations', 'figures', 'notes'] and os.path.isfile(picture)
    assert told['figures']['bbox_mAP'] == 0
    first, *others = told['explanations']
    assert sorted(first) == ['bound', 'faults', 'given', 'kind', 'mAP', 'pictures', 'sentence']
    assert sorted(first['faults']) == ['boxes-xyxy', 'ids-shifted'] and first['mAP'] > 0.3
    assert all(it['mAP'] <= first['mAP'] for it in others) and 'category ids 7 lower' in first['sentence']
    diagnose.main([*files(found), '--json'])
    told = json.loads(capsys.readouterr().out)
    assert told['explanations'] == [] and told['figures']['segm_mAP'] > 0.3


@pytest.mark.parametrize(
    ('spoil', 'columns'),
    [
        (lambda found: found, 2),
        (lambda found: corners(boxes_alone(found)), 3),
        (lambda found: [{**it, 'category_id': it['category_id'] + 7} for it in found], 3),
    ],
    ids=['honest', 'boxes', 'masks'],
)
def test_a_picture_has_a_column_more_where_there_is_a_mend(files, found, monkeypatch, capsys, spoil, columns):
    seen = []
    monkeypatch.setattr(
        'damamba.reporting.charts.diagnosis.draw_tiles', lambda tiles, *others, **options: seen.append((tiles, others))
    )
    words = files(spoil(found))
    diagnose.main([*words, '--picture', words[0].replace('theirs.json', 'a.PNG')])
    ((tiles, others),) = seen
    assert others[0] == columns and len(tiles) == 4 * columns
    captions = [caption for _, caption, _ in tiles][:columns]
    assert captions == ['ground truth, 11.jpg', 'as given', 'as mended'][:columns]
    pixels = [np.count_nonzero((tile != 90).any(axis=2)) for tile, _, _ in tiles][:columns]
    assert all(pixels[n] > 200 for n in {0, columns - 1}) and 'wrote ' in capsys.readouterr().out


def test_lists_inside_of_dictionaries_and_other_names_of_keys_are_read(files, truth, found, capsys):
    diagnose.main([*files(found), '--json'])
    wanted = capsys.readouterr().out
    names = {'bbox': 'box', 'score': 'confidence', 'category_id': 'label', 'segmentation': 'rle'}
    for content in (
        {'info': {}, 'predictions': found},
        {'results': [{names.get(key, key): value for key, value in it.items()} for it in found]},
        {**truth, 'annotations': found},
    ):
        diagnose.main([*files(content), '--json'])
        assert capsys.readouterr().out == wanted


def refused(capsys, words) -> str:
    with pytest.raises(SystemExit) as stopped:
        diagnose.main([str(it) for it in words])
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert stopped.value.code == 1 and line.startswith('error: ') and out == ''
    return line


def test_what_can_not_be_read_is_one_sentence_and_the_status_is_1(files, truth, found, capsys):
    entries = files(found)
    for content, words in (
        ('{"a', 'can not be read as JSON'),
        (truth, 'theirs.json is a ground truth; wanted results'),
        ([], 'there are no results: an empty list finds nothing'),
        ({'a': 1}, 'does not hold results in the format of COCO'),
        ([1, 2], 'does not hold results in the format of COCO'),
        ([{'image_id': 11, 'category_id': 2, 'score': 1}], 'the results have neither boxes nor masks'),
    ):
        assert words in refused(capsys, files(content))
    theirs, flag, annotations = entries
    assert 'nowhere.json does not exist' in refused(capsys, [f'{theirs}/nowhere.json', flag, annotations])
    assert 'nowhere.json does not exist' in refused(capsys, [theirs, flag, 'nowhere.json'])
    theirs, flag, _ = files(found)
    assert 'is no ground truth' in refused(capsys, [theirs, flag, theirs])
    crowds = copy.deepcopy(truth)
    crowds['annotations'] = [a | {'iscrowd': 1} for a in crowds['annotations']]
    nothing = files(crowds, 'crowds.json')[0]
    assert 'the annotations have nothing to find' in refused(capsys, [theirs, flag, nothing])


def test_annotations_without_names_of_files_have_no_picture(files, truth, found, capsys):
    nameless = [{key: value for key, value in it.items() if key != 'file_name'} for it in truth['images']]
    annotations = files({**truth, 'images': nameless}, 'nameless.json')[0]
    words = [files(found)[0], '--annotations', annotations, '--picture', annotations.replace('.json', '.png')]
    with pytest.raises(SystemExit):
        diagnose.main(words)
    assert capsys.readouterr().err == 'error: --picture: the annotations do not name the files of all pictures\n'


def test_pictures_that_are_not_there_are_one_sentence_after_the_diagnosis(files, found, tmp_path, capsys):
    words = files(found)
    for path in (tmp_path / 'images').iterdir():
        path.unlink()
    with pytest.raises(SystemExit) as stopped:
        diagnose.main([*words, '--picture', str(tmp_path / 'a.png')])
    out, err = capsys.readouterr()
    assert stopped.value.code == 1 and 'No known fault explains' in out
    assert err.startswith('error: ') and err.endswith('11.jpg is not there or no picture: say --images DIR\n')
    for flags, told in (
        (['--picture', 'a.jpg'], '--picture takes the name of a .png file, got a.jpg'),
        (['--images', 'gone'], '--images: gone is no folder'),
    ):
        with pytest.raises(SystemExit) as stopped:
            diagnose.main([*words, *flags])
        assert stopped.value.code == 2 and told in capsys.readouterr().err


def test_the_tool_draws_and_loads_no_torch(files, found, tmp_path):
    words = [*files(corners(boxes_alone(found))), '--picture', str(tmp_path / 'a.png')]
    command = [sys.executable, '-B', '-W', 'ignore', '-c', PROGRAM, *words]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f'\nwrote {tmp_path}/a.png\nwithout torch\n')
    assert cv2.imread(str(tmp_path / 'a.png')).shape[1] > 600
