import json

import pytest
from PIL import Image

from damamba.cli import check_dataset
from damamba.datasets.demo import write_shapes
from damamba.datasets.inspection import KINDS
from tests.detection import ROOT


@pytest.fixture
def shapes(tmp_path):
    write_shapes(tmp_path / 'set', images=3, val_images=1, size=64)
    return tmp_path / 'set'


def check(capsys, *argv) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        check_dataset.main([str(it) for it in argv])
    captured = capsys.readouterr()
    return stopped.value.code, captured.out + captured.err


def test_a_clean_set_is_summed_up_and_the_status_is_0(shapes, capsys, monkeypatch):
    monkeypatch.chdir(shapes.parent)
    status, shown = check(capsys, 'set')
    assert status == 0 and shown.endswith('\nNo defects\n')
    for words in (
        ['annotations/instances_train2017.json', '3'],
        ['total', '4'],
        ['annotations/instances_val2017.json', '64', 'x', '64', '(1)', '1', 'set/val2017'],
        ['ball', '1'],
    ):
        assert any(line.split()[: len(words)] == words for line in shown.splitlines()), words


def armbench(folder):
    """Three subsets of three files each; same has Object alone, with another id."""
    for subset, names in (('mix', ['Tote', 'Object']), ('same', ['Object']), ('zoomed', ['Tote', 'Object'])):
        categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
        square = dict(area=400, bbox=[8, 8, 20, 20], segmentation=[[8, 8, 28, 8, 28, 28, 8, 28]], iscrowd=0)
        annotations = [dict(id=1, image_id=1, category_id=len(names), **square)]
        for split in ('test', 'train', 'val'):
            name = f'{subset}-{split}.png'
            (folder / subset / 'images').mkdir(parents=True, exist_ok=True)
            Image.new('L', (64, 48), len(name)).save(folder / subset / 'images' / name)
            images = [dict(id=1, file_name=name, width=64, height=48)]
            content = dict(images=images, annotations=annotations, categories=categories)
            (folder / subset / f'{split}.json').write_text(json.dumps(content))


def table(shown, title) -> list[list[str]]:
    """The words of a table's heading and of its rows, without the line between them."""
    lines = shown[shown.index(title) :].split('\n\n')[1].splitlines()
    return [line.split() for line in lines if '─' not in line]


def test_many_files_are_rows_of_the_table_of_categories_and_unlike_ids_stand_beside_the_figures(tmp_path, capsys):
    armbench(tmp_path)
    shown = check(capsys, tmp_path, '--no-pixels')[1]
    heading, *rows = table(shown, 'Objects by category')
    assert heading == ['file', 'Tote', '(id', '1)', 'Object', 'its', 'id'] and len(rows) == 10
    assert rows[0] == ['mix/test.json', '0', '1', '2'] and rows[3] == ['same/test.json', '-', '1', '1']
    assert rows[-1] == ['total', '0', '9']
    assert '\n  not in same/{test, train, val}.json: Tote\n' in shown
    assert '\n  unlike ids in {mix, zoomed}/{test, train, val}.json; in same/{test, train, val}.json: Object\n' in shown
    assert max(map(len, shown[shown.index('Objects by category') :].splitlines())) <= 100


def test_few_files_are_columns_of_the_table_of_categories(shapes, capsys):
    path = shapes / 'annotations' / 'instances_val2017.json'
    heading, *rows = table(check(capsys, path)[1], 'Objects by category')
    assert heading == ['name', 'id', 'instances_val2017.json'] and [row[:2] for row in rows][:2] == [
        ['ball', '1'],
        ['crate', '2'],
    ]
    content = json.loads(path.read_text())
    for record in content['categories']:
        record['id'] += 10 * (record['name'] == 'ball')
    for record in content['annotations']:
        record['category_id'] += 10 * (record['category_id'] == 1)
    path.write_text(json.dumps(content))
    rows = table(check(capsys, shapes)[1], 'Objects by category')[2:]
    assert rows[0][:2] == ['ball', 'unlike'] and rows[0][3:5] == ['(id', '1)'] and rows[0][-2:] == ['(id', '11)']
    assert rows[1][:2] == ['crate', '2'] and len(rows[1]) == 4


def test_more_categories_than_anybody_reads_are_counted(shapes, capsys):
    path = shapes / 'annotations' / 'instances_val2017.json'
    content = json.loads(path.read_text())
    content['categories'] += [dict(id=number, name=f'c{number}') for number in range(100, 200)]
    path.write_text(json.dumps(content))
    shown = check(capsys, path)[1]
    assert len(table(shown, 'Objects by category')) == 102 and '\n6 more categories: --json has all\n' in shown


def test_a_file_without_anything_in_it_is_shown_and_the_status_is_1(tmp_path, capsys):
    (tmp_path / 'train.json').write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    status, shown = check(capsys, tmp_path)
    assert status == 1 and 'Objects by category' not in shown
    for kind in ('no pictures', 'no objects', 'no categories'):
        assert f'\n  {kind}: 1 (' in shown


def test_defects_are_shown_by_kind_and_the_status_is_1(shapes, capsys):
    for path in (shapes / 'train2017').glob('*.jpg'):
        path.write_bytes(path.read_bytes()[:-500])
    status, shown = check(capsys, shapes / 'annotations' / 'instances_train2017.json', '--workers', 1)
    assert status == 1 and 'Defects: 3\n\n  undecodable picture: 3 (' in shown
    assert "instances_train2017.json, image 1 '000000000001.jpg': OSError: image file is truncated" in shown
    assert 'total' not in shown


def test_no_more_than_a_few_examples_are_shown_and_all_are_written(shapes, capsys, tmp_path):
    path = shapes / 'annotations' / 'instances_train2017.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        annotation['category_id'] = 77
    path.write_text(json.dumps(content))
    count = len(content['annotations'])
    status, shown = check(capsys, shapes, '--json', tmp_path / 'out.json', '--no-pixels')
    assert status == 1 and f'and {count - 3} more' in shown and 'without --no-pixels' in shown
    written = json.loads((tmp_path / 'out.json').read_text())
    assert written['counts'] == {'unknown_category_id': count} and len(written['defects']) == count
    assert written['defects'][0] == dict(
        kind='unknown_category_id',
        file='annotations/instances_train2017.json',
        text='no category has the id 77',
        file_name='000000000001.jpg',
        image_id=1,
        annotation_id=1,
    )
    assert written['decoded'] is False and written['total']['pictures'] == 4
    first = written['files'][0]
    assert first['sizes'] == [dict(width=64, height=64, pictures=3)] and first['split'] == 'train'
    assert first['category_ids'][0] == dict(id=1, name='ball') and sum(first['areas'].values()) == first['objects']


def test_another_folder_of_pictures_can_be_named(shapes, capsys):
    (shapes / 'val2017').rename(shapes / 'elsewhere')
    path = shapes / 'annotations' / 'instances_val2017.json'
    status, shown = check(capsys, path)
    assert status == 1 and 'missing picture: 1' in shown
    assert check(capsys, path, '--images', shapes / 'elsewhere')[0] == 0


def test_names_in_a_file_are_shown_as_they_are(shapes, capsys):
    path = shapes / 'annotations' / 'instances_val2017.json'
    content = json.loads(path.read_text())
    content['categories'][0]['name'] = '[red]\x1b[31m\ud800[/red]'
    path.write_text(json.dumps(content))
    status, shown = check(capsys, path)
    assert status == 0 and r' [red]\x1b[31m\ud800[/red] ' in shown


@pytest.mark.parametrize(
    ('argv', 'text'),
    [
        ([], 'PATH'),
        (['nothing'], 'nothing does not exist'),
        (['empty'], 'empty has no .json file'),
        (['strange'], "strange has no annotations in COCO's format in it, only a.json"),
        (['set', '--workers', '0'], '--workers takes 1 or more'),
        (['set', '--images', 'nothing'], 'nothing is no folder'),
        (['set', '--json', 'no/where.json'], 'there is no folder no'),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_the_status_is_2(shapes, capsys, monkeypatch, argv, text):
    monkeypatch.chdir(shapes.parent)
    (shapes.parent / 'empty').mkdir()
    (shapes.parent / 'strange').mkdir()
    (shapes.parent / 'strange' / 'a.json').write_text('[]')
    status, shown = check(capsys, *argv)
    assert status == 2 and text in shown and 'Traceback' not in shown


def test_the_documents_list_every_kind_of_defect():
    text = (ROOT / 'docs' / 'commands.md').read_text(encoding='utf-8')
    assert [kind for kind, meaning in KINDS.items() if f'| {kind.replace("_", " ")} | {meaning} |' not in text] == []
