"""What a run leaves is read by the module that writes it."""

import json

import pytest

from damamba.run_record import read_json, read_metrics, write_json


def read_metrics_of(tmp_path, text):
    (tmp_path / 'metrics.json').write_text(text)
    return read_metrics(tmp_path / 'metrics.json')


def test_only_what_a_run_measured_is_read_as_that(tmp_path):
    content = {'metrics': {}, 'evaluations': {'coco': {}}}
    assert read_metrics_of(tmp_path, f'\n {json.dumps(content)}') == content
    for text in ('', '[]', '[1, {"evaluations": {}}]', '{}', '{"evaluations": 3}', '{"images": []}'):
        assert read_metrics_of(tmp_path, text) is None
    with pytest.raises(ValueError):
        read_metrics_of(tmp_path, '{"evaluations": ')


@pytest.mark.parametrize(
    ('content', 'where'),
    [
        (dict(split='test'), None),
        (dict(split=3), '(split)'),
        (dict(split='test', proof=dict(passed=True)), '(proof.checks)'),
        ([], ''),
    ],
)
def test_a_file_that_is_not_of_its_shape_is_named_with_the_place(content, where, tmp_path):
    broken, path = [], tmp_path / 'metrics.json'
    write_json(path, content)
    assert read_json(path, broken) == (content if where is None else None)
    assert broken == ([] if where is None else [f'{path} {where}'.strip()])
    assert read_json(tmp_path / 'run.json', broken) is None and len(broken) == (where is not None)
