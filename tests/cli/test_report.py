import json
import os
import subprocess
import sys

import pytest

from damamba.cli import report
from tests.detection import ROOT
from tests.reporting.runs import load, predictions_for, proof, write_ground_truth, write_run

PROGRAM = """
import runpy, sys
sys.argv = ['report.py', *sys.argv[1:]]
runpy.run_path('tools/report.py', run_name='__main__')
assert not {'torch', 'mmengine', 'mmdet', 'mmcv'} & {name.split('.')[0] for name in sys.modules}
print('without torch')
"""


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path / name, seed) for seed, name in enumerate(('one', 'two'))]


@pytest.fixture
def undrawn(monkeypatch):
    """No pictures: what is said does not depend on them."""
    monkeypatch.setattr('damamba.reporting.report.topics_of', lambda page: [])


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stopped:
        report.main([str(it) for it in argv])
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_tool_loads_no_torch_and_says_where_the_report_lies(tmp_path, runs):
    truth, theirs = write_ground_truth(tmp_path / 'truth.json'), tmp_path / 'theirs.json'
    theirs.write_text(json.dumps(predictions_for(truth)))
    words = [*runs, '--out', tmp_path / 'out', '--results', f'theirs={theirs}', '--annotations', truth]
    command = [sys.executable, '-B', '-W', 'ignore', '-c', PROGRAM, *map(str, words)]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'diagnosed: nothing found' in done.stdout
    assert done.stdout.endswith('without torch\n') and f'wrote {tmp_path / "out/report.html"}' in done.stdout
    assert (tmp_path / 'out/report.html').stat().st_size > 100_000 and (tmp_path / 'out/report.md').is_file()


def test_the_summary_shows_the_table_what_is_missing_and_what_was_refused(tmp_path, runs, undrawn, capsys):
    third = write_run(tmp_path / 'three', proof=proof(False), evaluations={})
    (runs[0] / 'metrics.json').write_text(json.dumps({**load(runs[0]), 'proof': None}))
    report.main(
        [*map(str, [*runs, third]), '--out', str(tmp_path / 'out'), '--names', 'a', 'b', 'c', '--title', 'Mine']
    )
    shown = capsys.readouterr().out
    assert 'ahead of' in shown and 'not proved' in shown
    assert 'REFUSED c on mix-object-tote: ground truth scores 1.000: mask mAP: 0.870' in shown
    assert 'missing of a: the proof of the evaluation of mix-object-tote\n    bash dist_test.sh' in shown
    assert '<title>Mine</title>' in (tmp_path / 'out/report.html').read_text()


def test_another_class_or_none_may_come_first(tmp_path, runs, undrawn, capsys):
    for focus, words in (('tote', 'mask mAP of Tote'), ('mean', 'mask mAP on'), (None, 'mask mAP of Object')):
        report.main([*map(str, runs), '--out', str(tmp_path / 'out'), *(['--focus', focus] if focus else [])])
        assert words in capsys.readouterr().out.splitlines()[0]


def test_what_can_be_mended_is_one_sentence_and_the_status_is_1(tmp_path, runs, capsys):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').touch()
    out = ('--out', tmp_path / 'out')
    assert 'nowhere does not exist' in refused(capsys, tmp_path / 'nowhere', *out)
    assert 'two runs have the name one' in refused(capsys, runs[0], runs[0], *out)
    assert 'nothing to report' in refused(capsys, tmp_path / 'empty', *out)
    assert 'can not write' in refused(capsys, runs[0], '--out', tmp_path / 'file')
    assert 'no data set has the class Hand' in refused(capsys, runs[0], *out, '--focus', 'Hand')
    assert "--results takes NAME=FILE.json, got 'x.json'" in refused(capsys, runs[0], *out, '--results', 'x.json')
    assert 'nowhere.json does not exist' in refused(capsys, *out, '--results', f'x={tmp_path}/nowhere.json')
    theirs = tmp_path / 'x.json'
    theirs.write_text('[]')
    again = [f'--results= a ={theirs}', '--results', f'a={theirs}', '--annotations', write_ground_truth(tmp_path / 't')]
    assert 'two runs have the name a: tell them apart' in refused(capsys, runs[0], *out, *again)
    assert 'a name of one line' in refused(capsys, runs[0], *out, '--names', '')
    assert f'{tmp_path} holds runs, and is none: give {tmp_path}/*' in refused(capsys, tmp_path, *out)
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/report.html').write_text('mine')
    assert 'mine/report.html is of no report' in refused(capsys, runs[0], '--out', tmp_path / 'mine')
    assert (tmp_path / 'mine/report.html').read_text() == 'mine'


def test_a_score_that_is_none_and_no_run_at_all_are_refused(runs, tmp_path, capsys):
    for words, told in (
        (['--least', '30', str(runs[0])], '--least takes a score from 0 to 1'),
        ([], 'nothing to report'),
    ):
        with pytest.raises(SystemExit) as stopped:
            report.main(['--out', str(tmp_path / 'out'), *words])
        assert stopped.value.code == 2 and told in capsys.readouterr().err
