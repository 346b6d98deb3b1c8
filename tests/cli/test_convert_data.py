"""The command: what it prints, and what it refuses."""

import re

import pytest

from damamba.cli import convert_data
from tests.datasets.conversion.sources import SOURCES, write_text, yolo_line


def convert(capsys, *argv) -> list[str]:
    convert_data.main([str(it) for it in argv])
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def pets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SOURCES['yolo'](tmp_path / 'pets')
    return tmp_path / 'pets'


def test_both_sides_are_counted_the_result_looked_through_and_a_config_said(pets, capsys):
    write_text(pets / 'labels' / 'train' / 'empty.txt', yolo_line(7, [(1, 1), (9, 1), (9, 9)]))
    lines = convert(capsys, 'pets', 'out')
    rows = [line.split() for line in lines]
    assert lines[0] == 'YOLO, outlines or boxes: data.yaml names classes'
    for row in ('pictures 3 0 3', 'objects 5 1 4', 'parts of masks 4 0 4', 'holes in them 1 0 1'):
        assert row.split() in rows
    assert ['objects', 'of', "'dog'", '2', '-', '2'] in rows
    assert '  1 object: the class number is none of 0 to 1 (labels/train/empty.txt:1)' in lines
    assert any(line.startswith('  1 object has a box and no mask: ') for line in lines)
    assert '  no segmentation: 1 (there is no mask: a training of masks leaves the object out)' in lines
    settings = {}
    exec('\n'.join(lines[lines.index("_base_ = './mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'") :]), settings)
    assert settings['classes'] == ('cat', 'dog') and settings['data_root'] == 'out/'
    assert settings['train_dataloader']['dataset']['ann_file'] == 'annotations/instances_train.json'


def test_to_yolo_with_classes_of_another_order(pets, capsys):
    lines = convert(capsys, 'pets', 'out', '--to', 'yolo-seg', '--classes', 'dog', 'cat', '--copy')
    assert (pets.parent / 'out' / 'labels' / 'train' / 'a.txt').read_text()[:2] == '1 '
    assert any('Ultralytics takes no outlines from a set' in line for line in lines) and lines[-1] == 'path  out'
    assert (pets.parent / 'out' / 'images' / 'train' / 'a.png').stat().st_nlink == 1


@pytest.mark.parametrize(
    'argv',
    [('gone', 'out'), ('pets', 'pets/out'), ('pets', 'out', '--from', 'coco'), ('pets', 'out', '--classes', 'x')],
)
def test_what_can_not_be_converted_is_one_sentence_and_leaves_nothing(argv, pets, capsys):
    with pytest.raises(SystemExit) as stopped:
        convert(capsys, *argv)
    assert re.fullmatch(r'error: [^\n]+', stopped.value.code)
    assert [it.name for it in pets.parent.iterdir()] == ['pets']
