import json

import pytest

from damamba.cli import make_demo_data

SMALL = ['--images', '3', '--val-images', '1', '--size', '64', '--seed', '5']


def test_the_set_is_written_and_summed_up(tmp_path, capsys):
    out = tmp_path / 'set'
    assert make_demo_data.main(['shapes', str(out), *SMALL]) is None
    shown = capsys.readouterr().out
    info = json.loads((out / 'annotations' / 'instances_train2017.json').read_text())['info']
    assert info['arguments'] == dict(kind='shapes', images=3, val_images=1, size=64, seed=5, drawing=info['version'])
    assert len(list((out / 'train2017').glob('*.jpg'))) == 3 and len(list((out / 'val2017').glob('*.jpg'))) == 1
    for line in ('pictures       4', 'partly hidden  ', 'sizes          ', 'crowds         ', f'path           {out}'):
        assert f'\n{line}' in f'\n{shown}'


def test_a_second_run_says_that_the_set_is_there(tmp_path, capsys):
    make_demo_data.main(['shapes', str(tmp_path), *SMALL])
    first = capsys.readouterr().out
    make_demo_data.main(['shapes', str(tmp_path), *SMALL])
    again = capsys.readouterr().out
    assert 'it was there already' in again and 'already' not in first
    assert again.splitlines()[:-1] == first.splitlines()[:-1]


@pytest.mark.parametrize(
    'change', [['--images', '0'], ['--val-images', '0'], ['--size', '10'], ['--seed', '-1'], ['--size', '99999']]
)
def test_arguments_that_make_no_sense_are_one_sentence(tmp_path, change):
    with pytest.raises(SystemExit) as stopped:
        make_demo_data.main(['shapes', str(tmp_path / 'set'), *SMALL, *change])
    assert stopped.value.code.startswith('error: ') and '\n' not in stopped.value.code
    assert not (tmp_path / 'set').exists()


def test_a_folder_that_holds_something_else_is_one_sentence(tmp_path):
    (tmp_path / 'thesis.txt').write_text('years of work')
    with pytest.raises(SystemExit, match='^error: .* is not empty and holds something else') as stopped:
        make_demo_data.main(['shapes', str(tmp_path), *SMALL])
    assert '\n' not in stopped.value.code
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']


def test_a_place_that_cannot_be_written_is_one_sentence():
    with pytest.raises(SystemExit, match='^error: .*/proc/nothing'):
        make_demo_data.main(['shapes', '/proc/nothing', *SMALL])


def test_the_kind_of_scenes_has_to_be_named():
    with pytest.raises(SystemExit) as stopped:
        make_demo_data.main([])
    assert stopped.value.code == 2


def test_the_defaults_are_those_of_the_library(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(make_demo_data, 'write_shapes', lambda *args, on_picture: asked.append(args) or 'summary')
    args = make_demo_data.build_parser().parse_args(['shapes', str(tmp_path)])
    make_demo_data.write(args)
    assert asked == [(tmp_path, 600, None, 192, 0)]
