"""metrics.json, run.json and examples.json: what they say, and where they are not as they should be."""

import pytest

from damamba.reporting.runs import Result, read_run
from damamba.run_record import evaluations_of
from tests.reporting.runs import COCO, FAULTS, FOCUS, ZOOMED, edit, metrics, missing, old, proof, write_run

BOXES = f'{COCO}.details.kinds.bbox'


def of(content: dict) -> Result:
    return Result(None, None, '', content)


@pytest.mark.parametrize('text', [b'{"split": "te', b'[1, 2]', b'\xff\xfe', b'[' * 100_000])
def test_a_file_that_can_not_be_read_is_named(tmp_path, text):
    folder = write_run(tmp_path / 'a')
    (folder / 'metrics.json').write_bytes(text)
    found = missing(folder)
    assert f'{folder}/metrics.json, which can not be read' in found and any(it.startswith('a test') for it in found)


@pytest.mark.parametrize(
    ('name', 'keys', 'value', 'where'),
    [
        ('metrics.json', f'{COCO}.images', ..., f'{COCO}.images'),
        ('metrics.json', f'{COCO}.objects', True, f'{COCO}.objects'),
        ('metrics.json', FOCUS, '0.5', FOCUS),
        ('metrics.json', FOCUS, ..., FOCUS),
        ('metrics.json', f'{COCO}.scores.segm.classes.Tote', ..., COCO),
        ('metrics.json', f'{COCO}.max_dets', [], COCO),
        ('metrics.json', f'{BOXES}.errors.classes.Tote', ..., f'{BOXES}.errors'),
        ('metrics.json', f'{BOXES}.curves', {'Tote': {'0.50': [None]}}, f'{BOXES}.curves.Tote.0.50[0]'),
        ('metrics.json', f'{COCO}.details.kinds.segm.picks.values', ..., f'{COCO}.details.kinds.segm.picks.values'),
        ('metrics.json', 'proof', True, 'proof'),
        ('metrics.json', 'proof', {'passed': True, 'checks': []}, 'proof.images'),
        ('metrics.json', 'speed.bins', ..., 'speed.bins'),
        ('metrics.json', 'speed.bins', {'many': {'median': 1}}, 'speed.bins.many'),
        ('metrics.json', 'split', 3, 'split'),
        ('metrics.json', 'parameters', -1, 'parameters'),
        ('20260101_000000/run.json', 'started', 5, 'started'),
        ('examples.json', 'images.0.picture', ..., 'images[0].picture'),
        ('examples.json', 'images.0.predictions.0.bbox', [1, 2], 'images[0].predictions[0].bbox'),
    ],
)
def test_a_file_of_another_shape_is_named_with_where(tmp_path, name, keys, value, where):
    path = write_run(tmp_path / 'a') / name
    edit(path, {keys: value})
    assert read_run(tmp_path / 'a', 'a').broken == [f'{path} ({where})']


def test_what_may_be_missing_and_figures_of_other_evaluators_are_no_misfit(tmp_path):
    folder = write_run(tmp_path / 'a', **old(metrics(0)))
    keys = ('proof', 'speed', 'versions', 'dataset', 'checkpoint', f'{COCO}.faults', f'{COCO}.details')
    nothing = dict.fromkeys(keys)
    edit(folder, {**nothing, 'evaluations.other': {'accuracy': 1}, 'evaluations.none': None, 'mine': [1]})
    edit(folder / 'examples.json', {'dataset': None})
    run = read_run(folder, 'a')
    assert run.broken == [] and len(run.results[0].examples['images']) == 2
    assert list(evaluations_of(run.own.content)) == ['coco']


@pytest.mark.parametrize('mask', [{'size': [48, 64], 'counts': 'garbage!'}, {'size': [0, 0], 'counts': ''}])
def test_a_mask_or_a_picture_that_is_none_leaves_its_example_out(tmp_path, mask):
    path = write_run(tmp_path / 'a') / 'examples.json'
    edit(path, {'images.1.predictions.0.segmentation': mask})
    run = read_run(tmp_path / 'a', 'a')
    assert [it['id'] for it in run.results[0].examples['images']] == [1]
    assert run.broken == [f'{path} (images[1], a mask)']
    (tmp_path / 'a/examples/0.jpg').write_bytes(b'no picture')
    assert read_run(tmp_path / 'a', 'a').broken[0] == f'{tmp_path}/a/examples/0.jpg'


def test_data_sets_are_known_by_the_file_or_by_the_path_of_the_annotations():
    for ann_file, name, drawn in (
        ('data/armbench-demo/mix-object-tote/test.json', 'mix-object-tote', True),
        ('/x/coco/annotations/instances_val2017.json', 'instances_val2017', False),
        (None, 'unknown', False),
    ):
        it = of(old(metrics(0, ann_file=ann_file)))
        assert (it.data, it.drawn, it.of_data('sha256')) == (name, drawn, None)
    told = dict(name='x', description='Drawn totes in the layout of ARMBench, by x', sha256='0')
    assert of({'dataset': told}).drawn and of({'dataset': told}).data == 'x'
    assert not of({'dataset': {**told, 'description': 'ARMBench'}, 'ann_file': 'armbench-demo/x.json'}).drawn


def test_figures_are_refused_for_failed_claims_faults_and_a_proof_of_other_annotations():
    faulty = metrics(0)
    faulty['evaluations']['coco']['faults'] = FAULTS
    assert of(faulty).proved and of(faulty).reasons == ['shifted: 9 of 9 detections have the next id']
    failed = of(metrics(0, proof=proof(False), evaluations={}))
    assert failed.reasons == ['ground truth scores 1.000: mask mAP: 0.870'] and not failed.proved
    assert of(metrics(0, proof={**proof(), 'passed': False})).reasons == ['the proof did not pass']
    (reason,) = of(metrics(0, proof=proof(on=ZOOMED))).reasons
    assert f'data/{ZOOMED}/test.json' in reason and 'data/armbench/mix-object-tote/test.json' in reason
    assert of(metrics(0, proof={**proof(), 'ann_file': '/moved/mix-object-tote/test.json'})).reasons == []
