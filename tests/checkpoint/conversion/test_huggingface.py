"""Folders of Hugging Face, their shards and the names of their classes."""

import json

import pytest
import torch
from safetensors.torch import save_file

from damamba.checkpoint.conversion import Labels, convert, labels_beside, read_source
from damamba.checkpoint.conversion.coco import CLASSES
from tests.checkpoint.conversion import mask2formers as models
from tests.checkpoint.helpers import equal, error_of

STATE = {f'w{number}': torch.full((2,), float(number)) for number in range(4)}
PARTS = {f'-0000{number + 1}-of-00002': {f'w{it}': STATE[f'w{it}'] for it in (number, number + 2)} for number in (0, 1)}


def write_index(folder, name, places):
    (folder / name).write_text(json.dumps({'metadata': {'total_size': 32}, 'weight_map': places}))


@pytest.fixture(params=['model.safetensors', 'pytorch_model.bin', 'shards', 'shards.bin'])
def folder(request, tmp_path):
    """The same weights in each way in which transformers saves them."""
    stem, end = ('pytorch_model', 'bin') if request.param.endswith('bin') else ('model', 'safetensors')
    write = torch.save if end == 'bin' else save_file
    if request.param.startswith('shards'):
        files = {f'{stem}{part}.{end}': state for part, state in PARTS.items()}
        write_index(tmp_path, f'{stem}.{end}.index.json', {key: file for file in files for key in files[file]})
    else:
        files = {request.param: STATE}
    for name, state in files.items():
        write(state, tmp_path / name)
    return tmp_path


def test_a_folder_is_read_whole_and_so_is_its_index_but_no_shard_alone(folder):
    found = read_source(folder)
    assert equal(dict(sorted(found.get('state_dict', found).items())), STATE)
    for index in folder.glob('*.index.json'):
        assert equal(dict(sorted(read_source(index)['state_dict'].items())), STATE)
        shard = next(folder.glob('*-00001-of-00002.*'))
        assert error_of(read_source, shard) == f'{shard} is one shard of several: give its folder, {folder}'


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (
            '{"weight_map": {"a": "../a.safetensors"}}',
            "names '../a.safetensors', which is no file of weights in its own",
        ),
        ('{"weight_map": {"a": "/etc/a.bin"}}', "names '/etc/a.bin', which is no file of weights in its own folder"),
        ('{"weight_map": {"a": "..safetensors"}}', "names '..safetensors', which is no file of weights"),
        ('{"weight_map": {"a": "gone.safetensors"}}', 'gone.safetensors does not exist'),
        ('{"weight_map": []}', 'names no shards under weight_map'),
        ('{"weight', 'can not be read as an index of shards'),
        ('[' * 100_000, 'can not be read as an index of shards'),
        (None, 'has none of model.safetensors, model.safetensors.index.json, pytorch_model.bin, '),
    ],
)
def test_what_is_wrong_with_an_index_is_said(tmp_path, content, text):
    if content:
        (tmp_path / 'model.safetensors.index.json').write_text(content)
    assert text in error_of(read_source, tmp_path)


def test_one_tensor_in_two_shards_is_refused(tmp_path):
    for name in ('a.safetensors', 'b.safetensors'):
        save_file(STATE, tmp_path / name)
    write_index(tmp_path, 'model.safetensors.index.json', {'w0': 'a.safetensors', 'w1': 'b.safetensors'})
    assert error_of(read_source, tmp_path) == f'{tmp_path}/b.safetensors holds w0, which another shard holds, too'


@pytest.mark.parametrize('url', ['https://x.org/model-00001-of-00004.safetensors', 'https://x.org/m.bin.index.json'])
def test_a_part_of_what_lies_elsewhere_is_not_fetched(url):
    assert error_of(read_source, url).endswith('download the folder that it lies in, and give that')


COCO = list(CLASSES.values())
DARKNET = {'motorcycle': 'motorbike', 'airplane': 'aeroplane', 'tv': 'tvmonitor', 'couch': 'sofa'}


@pytest.mark.parametrize(
    ('content', 'names'),
    [
        ({'id2label': {'10': 'k', **{str(it): chr(97 + it) for it in range(10)}}}, tuple('abcdefghijk')),
        ({'id2label': {str(n): DARKNET.get(name, name) for n, name in enumerate(COCO)}}, tuple(COCO)),
        ({'id2label': {'0': 'LABEL_0', '1': 'LABEL_1'}}, None),
        ({'id2label': {'1': 'a', '2': 'b'}}, None),  # they are no rows
        ({'id2label': {str(number): f'n{number}' for number in range(133)}}, None),  # things and stuff
        ({'id2label': {'0': 3}}, None),
        ({'id2label': 'ab'}, None),
        ([], None),
    ],
)
def test_classes_are_named_by_config_json_by_their_ids(tmp_path, content, names):
    assert labels_beside(tmp_path) is labels_beside('https://x.org/model.safetensors') is None
    (tmp_path / 'config.json').write_text(json.dumps(content))
    wanted = names and Labels(names, tmp_path / 'config.json')
    assert labels_beside(tmp_path) == labels_beside(tmp_path / 'model.safetensors') == wanted


def test_what_is_given_goes_before_config_json_and_detectron2_has_none(on_meta, tmp_path):
    state, labels = models.theirs('t', classes=2).state_dict(), Labels(('Tote', 'Object'), tmp_path / 'config.json')
    found = convert(state, order=('Object', 'tote'), labels=labels)
    assert found.rows == (1, 0)
    assert found.notes == (f'the names of the classes are those of {tmp_path}/config.json',)
    assert convert(state, classes=('a', 'b'), labels=labels).classes == ('a', 'b')
    assert 'are for 2 classes: name them' in error_of(convert, models.in_detectron2(state), None, None, None, labels)
