import json

import pytest

from damamba.cli import make_demo_data

SMALL = ['--images', '3', '--val-images', '1', '--size', '64', '--seed', '5']
TOTES = ['--images', '1', '--long-side', '160', '--seed', '5']
SUBSETS = ('mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set')


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


def test_the_stand_in_of_armbench_is_written_and_summed_up_for_each_subset(tmp_path, capsys):
    out = tmp_path / 'set'
    make_demo_data.main(['armbench', str(out), *TOTES, '--without-test'])
    first = capsys.readouterr().out
    blocks = first.split('\n\n')
    assert [block.splitlines()[0] for block in blocks[:3]] == list(SUBSETS)
    for block, subset in zip(blocks, SUBSETS, strict=False):
        names = {it['id']: it['name'] for it in json.loads((out / subset / 'val.json').read_text())['categories']}
        documents = [json.loads((out / subset / f'{split}.json').read_text()) for split in ('train', 'val')]
        objects = sum(names[it['category_id']] == 'Object' for found in documents for it in found['annotations'])
        lines = (
            'pictures       2',
            f'objects        {objects}, {objects / 2:.1f} per picture',
            'partly hidden  ',
            'sizes ',
        )
        assert all(f'\n{line}' in block for line in lines)
        assert not (out / subset / 'test.json').exists()
    assert blocks[3] == f'path           {out}\n'
    make_demo_data.main(['armbench', str(out), *TOTES, '--without-test'])
    again = capsys.readouterr().out
    assert 'it was there already' in again and again.splitlines()[:-1] == first.splitlines()[:-1]


@pytest.mark.parametrize(
    'change', [['--images', '0'], ['--long-side', '10'], ['--long-side', '9999'], ['--seed', '-1']]
)
def test_arguments_for_totes_that_make_no_sense_are_one_sentence(tmp_path, change):
    with pytest.raises(SystemExit) as stopped:
        make_demo_data.main(['armbench', str(tmp_path / 'set'), *TOTES, *change])
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


def test_the_defaults_for_totes_are_those_of_the_library(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(make_demo_data, 'write_armbench', lambda *args, on_picture: asked.append(args) or {})
    make_demo_data.write(make_demo_data.build_parser().parse_args(['armbench', str(tmp_path)]))
    assert asked == [(tmp_path, 300, 320, 0, True)]
