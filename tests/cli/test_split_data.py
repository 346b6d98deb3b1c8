"""The command: what it shows, what a training can take from it, mistakes in one sentence."""

import json
from pathlib import Path

import pytest

from damamba.cli import split_data
from damamba.datasets.inspection import inspect_dataset
from tests.datasets.splitting.helpers import assert_whole, document, read_parts, write, write_pictures


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Twenty pictures of five scenes; two of one scene have the same bytes as two of another."""
    names = [f'{i:03}.png' for i in range(1, 21)]
    write_pictures(tmp_path / 'mine' / 'images', names, [*range(18), 0, 1])
    content = document([[1, 1], [1, 2]] * 10, scene=[f's{i // 2 % 5}' for i in range(20)])
    write(tmp_path / 'mine', content)
    monkeypatch.chdir(tmp_path)
    return content


def split(capsys, *argv) -> str:
    split_data.main(['mine/all.json', *argv])
    return capsys.readouterr().out


def rows(shown, title) -> list[list[str]]:
    """The words of each row of a table."""
    return [line.split() for line in shown[shown.index(title) :].split('\n\n')[1].splitlines()[2:]]


def test_the_parts_are_shown_and_train_as_they_are(data, capsys):
    shown = split(capsys, 'mine/annotations', '--fractions', '0.6', '0.2', '0.2', '--group-by', 'scene')
    parts = read_parts(Path('mine/annotations'))
    assert_whole(data, parts)
    found = {name: (len(part['images']), len(part['annotations'])) for name, part in parts.items()}
    assert found == dict(train=(12, 24), val=(4, 8), test=(4, 8))
    files = {name: f'mine/annotations/instances_{name}.json' for name in parts}
    assert rows(shown, 'Parts') == [
        ['train', '60.0%', '12', '60.0%', '0', '24', '0', '2', files['train']],
        ['val', '20.0%', '4', '20.0%', '0', '8', '0', '1', files['val']],
        ['test', '20.0%', '4', '20.0%', '0', '8', '0', '1', files['test']],
    ]
    assert rows(shown, 'Objects by class')[0] == ['c1', '18', '(60.0%)', '6', '(20.0%)', '6', '(20.0%)', '30']
    assert '\n\nLeaks between the parts: none\n\n' in shown and 'stay together: 4 (001.png = 019.png' in shown
    assert set(inspect_dataset(Path('mine/annotations'), Path('mine/images')).kinds) == {'same_picture'}
    settings = eval('dict({})'.format(shown.split('For a config:\n')[1].strip().replace('NAME', 'train')))
    root = Path(settings['data_root'])
    assert json.loads((root / settings['ann_file']).read_text()) == parts['train']
    assert len([*(root / settings['data_prefix']['img']).iterdir()]) == 20


def test_flags_say_how_many_parts_by_what_and_where_the_pictures_are(data, capsys):
    Path('mine/images').rename('mine/elsewhere')
    flags = ['--images', 'mine/elsewhere', '--balance', 'objects', '--near-duplicates', '0.9', '--seed', '3']
    split(capsys, 'out', '--fractions', '0.25', '0.25', '0.25', '0.25', '--group-by-name', r'(\d)\.', *flags)
    assert {path.name for path in Path('out').iterdir()} == {f'instances_part{number}.json' for number in range(1, 5)}
    shown = split(capsys, 'folds', '--fractions', '0.5', '0.5', '--names', 'a', 'b-2')
    assert {path.name for path in Path('folds').iterdir()} == {'instances_a.json', 'instances_b-2.json'}
    assert '20 of 20 pictures could not be read and were compared by name alone: --images names another' in shown


@pytest.mark.parametrize(
    ('argv', 'text'),
    [
        (['--fractions', '0.5', '0.6'], 'sum to 1.1'),
        (['--fractions', '0.5', '0.5', '--names', 'a'], 'each part needs a fraction and a name of its own'),
        (['--fractions', '0.5', '0.5', '--names', 'a', 'a'], 'each part needs a fraction and a name of its own'),
        (['--group-by', 'camera'], 'no picture has camera'),
        (['--group-by-folder'], 'there are only 1'),
        (['--near-duplicates', '1.5'], 'a correlation above 0, at most 1'),
        (['--workers', '0'], '--workers takes 1 or more'),
        (['--images', 'nowhere'], 'nowhere is no folder'),
    ],
)
def test_mistakes_are_one_sentence(data, capsys, argv, text):
    with pytest.raises(SystemExit) as stopped:
        split(capsys, 'out', *argv)
    shown = capsys.readouterr().err.splitlines()
    (sentence,) = [stopped.value.code] if isinstance(stopped.value.code, str) else shown[-1:]
    assert text in sentence and 'error: ' in sentence and '\n' not in sentence
    assert not Path('out').exists()


def test_what_can_not_be_read_or_written_is_one_sentence(data):
    for argv in (['nothing.json', 'out'], ['mine/all.json', '/proc/nothing']):
        with pytest.raises(SystemExit, match='^error: '):
            split_data.main(argv)
    Path('mine/all.json').write_text(json.dumps([]))
    with pytest.raises(SystemExit, match="^error: mine/all.json is not in COCO's format"):
        split_data.main(['mine/all.json', 'out'])
