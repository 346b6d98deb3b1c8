"""The folder of a report: nobody else's files are touched, and an earlier report stays whole until the next one is."""

import json

import pytest

from damamba.reporting.report import LIST, written_at_once
from damamba.reporting.runs import ReportError


def write(out, **files: str) -> None:
    with written_at_once(out) as beside:
        for name, text in files.items():
            (beside / name.replace('_', '.')).write_text(text)


def contents(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != LIST}


def test_a_report_takes_the_place_of_the_earlier_one_and_of_nothing_else(tmp_path):
    out = tmp_path / 'a/out'
    write(out, report_md='![](mine.png) ![](one.png)', one_png='1')
    (out / 'mine.png').write_text('not ours, though the report names it')
    write(out, report_md='new', two_png='2')
    assert contents(out) == {'report.md': 'new', 'two.png': '2', 'mine.png': 'not ours, though the report names it'}
    assert json.loads((out / LIST).read_text()) == {'files': ['report.md', 'two.png']}


@pytest.mark.parametrize('name', ['report.md', 'report.html', 'one.png'])
def test_a_file_of_somebody_else_is_not_written_over(tmp_path, name):
    (tmp_path / name).write_text('mine')
    with pytest.raises(ReportError, match=f'{name} is of no report that was made here: move it away'):
        write(tmp_path, report_md='new', report_html='new', one_png='1')
    assert contents(tmp_path) == {name: 'mine'} and len(list(tmp_path.iterdir())) == 1


def test_an_error_leaves_the_earlier_report_whole_and_no_new_folder(tmp_path):
    write(tmp_path / 'out', report_md='old', one_png='1')
    for out in (tmp_path / 'out', tmp_path / 'new'):
        with pytest.raises(OSError, match='full'), written_at_once(out) as beside:
            (beside / 'report.md').write_text('half')
            raise OSError('the disk is full')
    assert contents(tmp_path / 'out') == {'report.md': 'old', 'one.png': '1'} and not (tmp_path / 'new').exists()


@pytest.mark.parametrize('text', ['{', '[]', '{"files": ["../other.png", "notes.txt", "/x.png"]}', '{"files": [1]}'])
def test_a_list_that_names_other_things_deletes_nothing(tmp_path, text):
    out = tmp_path / 'out'
    out.mkdir()
    for path, content in ((tmp_path / 'other.png', '1'), (out / 'notes.txt', '2'), (out / LIST, text)):
        path.write_text(content)
    write(out, report_md='new')
    assert (tmp_path / 'other.png').exists() and contents(out) == {'report.md': 'new', 'notes.txt': '2'}
