"""Files of a run that are none, or of another shape: each is named, and where."""

import json

import pytest

from damamba.reporting.runs import read_run
from tests.reporting.runs import change, missing, write_run


@pytest.mark.parametrize('text', [b'{"split": "te', b'[1, 2]', b'\xff\xfe', b'[' * 100_000])
def test_a_file_that_can_not_be_read_is_named(tmp_path, text):
    folder = write_run(tmp_path / 'a')
    (folder / 'metrics.json').write_bytes(text)
    found = missing(folder)
    assert f'{folder}/metrics.json, which can not be read' in found and any(it.startswith('a test') for it in found)


def put(content: dict, keys: str, value: object) -> None:
    """Set what is found by these keys; without a value, delete it."""
    *outer, last = keys.split('.')
    for key in outer:
        content = content[int(key) if isinstance(content, list) else key]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ('name', 'keys', 'value', 'where'),
    [
        ('metrics.json', 'evaluations.coco.images', None, 'evaluations.coco.images'),
        ('metrics.json', 'evaluations.coco.scores.segm.values.mAP', '0.5', 'evaluations.coco.scores.segm.values.mAP'),
        ('metrics.json', 'evaluations.coco.scores.segm.classes.Tote', None, 'evaluations.coco'),
        ('metrics.json', 'proof', True, 'proof'),
        ('metrics.json', 'proof', {'passed': True, 'checks': []}, 'proof.images'),
        ('metrics.json', 'speed.bins', None, 'speed.bins'),
        ('metrics.json', 'speed.bins', {'many': {'median': 1}}, 'speed.bins.many'),
        ('metrics.json', 'split', 3, 'split'),
        ('20260101_000000/run.json', 'started', 5, 'started'),
        ('examples.json', 'images.0.picture', None, 'images[0].picture'),
        ('examples.json', 'images.0.predictions.0.bbox', [1, 2], 'images[0].predictions[0].bbox'),
    ],
)
def test_a_file_of_another_shape_is_named_with_where(tmp_path, name, keys, value, where):
    path = write_run(tmp_path / 'a') / name
    content = json.loads(path.read_text())
    put(content, keys, value)
    path.write_text(json.dumps(content))
    assert read_run(tmp_path / 'a', 'a').broken == [f'{path} ({where})']


def test_examples_of_no_named_data_set_are_read(tmp_path):
    folder = write_run(tmp_path / 'a')
    change(folder / 'examples.json', dataset=None)
    run = read_run(folder, 'a')
    assert len(run.own.examples['images']) == 2 and run.broken == []


@pytest.mark.parametrize('mask', [{'size': [48, 64], 'counts': 'garbage!'}, {'size': [0, 0], 'counts': ''}])
def test_a_mask_that_is_none_leaves_its_picture_out(tmp_path, mask):
    path = write_run(tmp_path / 'a') / 'examples.json'
    content = json.loads(path.read_text())
    content['images'][1]['predictions'][0]['segmentation'] = mask
    path.write_text(json.dumps(content))
    run = read_run(tmp_path / 'a', 'a')
    assert [it['id'] for it in run.own.examples['images']] == [1] and run.broken == [f'{path} (images[1], a mask)']


def test_a_picture_that_is_none_is_left_out_and_named(tmp_path):
    folder = write_run(tmp_path / 'a')
    (folder / 'examples/0.jpg').write_bytes(b'no picture')
    assert [image['id'] for image in read_run(folder, 'a').own.examples['images']] == [2]
    assert list(missing(folder)) == [f'{folder}/examples/0.jpg, which can not be read']


@pytest.mark.parametrize(
    'line', [b'7', b'\xff\xfe', b'{"loss": 1.0, "epoch": 1, "step": 3}', b'{"loss": "x", "iter": 1}']
)
def test_a_log_of_another_shape_is_named(tmp_path, line):
    folder = write_run(tmp_path / 'a')
    (path,) = folder.glob('*/vis_data/scalars.json')
    path.write_bytes(path.read_bytes() + b'\n' + line)
    assert f'{path}, which can not be read' in ''.join(missing(folder))


def test_a_log_that_counts_iterations_alone_is_named_as_such(tmp_path):
    folder = write_run(tmp_path / 'a')
    (path,) = folder.glob('*/vis_data/scalars.json')
    path.write_text('{"loss": 1.0, "iter": 50, "step": 50}\n{"coco/segm_mAP": 0.2, "step": 50}')
    assert missing(folder) == {f'epochs in its log {path}, which counts iterations alone: no curves': None}
