"""JSON that is announced, endless, too deep or none: an error in words, at once."""

import codecs
import json
import os

import pytest

from damamba.datasets import json_files
from damamba.datasets.json_files import parse, read_json
from damamba.evaluation.annotations import load
from damamba.evaluation.results import EvaluationError


def test_each_is_an_error_in_words(tmp_path, monkeypatch):
    for name, content, text in (
        ('deep', b'[' * 10**5, 'too deep to read'),
        ('cut', b'{"images": [', 'Expecting value'),
        ('bytes', b'{"a": "\xff"}', "can't decode byte"),
        ('empty', b'', 'Expecting value'),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=text):
            read_json(tmp_path / name)
        with pytest.raises(EvaluationError, match=f'{name} can not be read as JSON: .*{text}'):
            load(tmp_path / name)
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(ValueError, match='it is no file'):
        read_json(tmp_path / 'pipe')
    with (tmp_path / 'announced').open('wb') as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match='it begins with zeros'):
        read_json(tmp_path / 'announced')
    with (tmp_path / 'announced').open('r+b') as file:
        file.write(b'{"images": [')
    with pytest.raises(ValueError, match=r'it is 1024.0 GiB long: that needs some 3072 GiB of memory at least'):
        read_json(tmp_path / 'announced')
    monkeypatch.setattr(json_files, 'memory_left', lambda: 2**20)
    (tmp_path / 'good').write_text('{"a": [1, 2]}')
    assert read_json(tmp_path / 'good') == {'a': [1, 2]}


def test_a_byte_order_mark_is_left_out(tmp_path):
    """As PowerShell writes it."""
    content = {'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'Stra\xdfe'}]}
    path = tmp_path / 'a.json'
    path.write_bytes(codecs.BOM_UTF8 + json.dumps(content, ensure_ascii=False).encode())
    assert read_json(path) == load(path) == content
    assert parse('\ufeff[1]') == parse('[1]') == [1]  # as it comes over a network
    path.write_bytes(codecs.BOM_UTF16 + '[]'.encode('utf-16-le'))
    with pytest.raises(ValueError, match="can't decode byte"):
        read_json(path)
