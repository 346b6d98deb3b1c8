"""Proofs on the command line: alone, and before a test."""

import json

import pytest

from damamba.cli import eval_results, prove_evaluation
from damamba.cli.test import configure, parse
from damamba.engine.command import command_line
from damamba.engine.launch import rank_of
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.proof.claims import ProofError
from damamba.evaluation.results import Fault
from tests import armbench
from tests.cli.helpers import logs, train
from tests.cli.helpers import test as run_test
from tests.detection import ROOT

CONFIG = str(ROOT / 'configs' / 'armbench' / 'mask_rcnn_DAMamba_nano_fpn_armbench_demo.py')
SAME = 'same-object-transfer-set'


def settings(**options):
    """For the command line, without processes that load the data."""
    for split in ('train', 'val', 'test'):
        options |= {f'{split}_dataloader.num_workers': 0, f'{split}_dataloader.persistent_workers': False}
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return armbench.write_all(tmp_path_factory.mktemp('armbench'))


@pytest.fixture(scope='module')
def checkpoint(data, tmp_path_factory):
    """A detector that has seen four pictures once."""
    folder = tmp_path_factory.mktemp('trained')
    options = {'load_from': None, 'train_cfg.max_epochs': 1, 'train_dataloader.batch_size': 2}
    train(CONFIG, '--work-dir', folder, '--no-validate', *settings(data_root=data, **options))
    return folder / 'epoch_1.pth'


def test_a_proof_is_shown_and_written(data, tmp_path, capsys):
    prove_evaluation.show([CONFIG, '--json', str(tmp_path / 'proof.json'), '--cfg-options', f'data_root={data}'])
    shown = capsys.readouterr().out
    assert 'Proof of the evaluation: mask_rcnn_DAMamba_nano_fpn_armbench_demo.py' in shown
    assert 'all 1.000, Object 1.000, Tote 1.000' in shown
    proof = json.loads((tmp_path / 'proof.json').read_text())
    assert proof['passed'] is True
    assert proof['images'] == 4


def test_fewer_pictures_can_be_asked_for(data, tmp_path):
    options = ['--images', '2', '--seed', '3', '--json', str(tmp_path / 'proof.json')]
    prove_evaluation.show([CONFIG, *options, '--cfg-options', f'data_root={data}', f'test_subset={SAME}'])
    assert json.loads((tmp_path / 'proof.json').read_text())['images'] == 2


@pytest.mark.parametrize('count', ['0', '-1', 'all'])
def test_a_number_of_pictures_that_is_none_is_refused(count, capsys):
    with pytest.raises(SystemExit) as exit_info:
        prove_evaluation.parse([CONFIG, '--images', count])
    assert exit_info.value.code == 2
    assert '--images' in capsys.readouterr().err


def spoil(monkeypatch):
    """An evaluator that takes each class for the other."""
    right = CocoInstanceMetric._category_ids
    monkeypatch.setattr(CocoInstanceMetric, '_category_ids', lambda *args: right(*args)[::-1])


def test_a_proof_that_fails_is_an_error_that_names_what_failed(data, monkeypatch, capsys):
    spoil(monkeypatch)
    with pytest.raises(SystemExit) as exit_info:
        prove_evaluation.main([CONFIG, '--cfg-options', f'data_root={data}'])
    assert exit_info.value.code == 1
    captured = capsys.readouterr()
    assert 'error: the evaluation does not prove itself: ground truth scores 1.000: box mAP: all 0.000' in captured.err
    assert 'NO' in captured.out


def test_annotations_that_are_not_there_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        prove_evaluation.main([CONFIG, '--cfg-options', f'data_root={tmp_path}'])
    assert 'mix-object-tote/test.json' in capsys.readouterr().err


def metrics_of(checkpoint, data, folder, *flags, **options):
    run_test(CONFIG, checkpoint, '--work-dir', folder, *flags, *settings(data_root=data, **options))
    return json.loads((folder / options.get('test_subset', '') / 'metrics.json').read_text())


def test_a_test_that_is_proved_says_so_in_its_metrics(checkpoint, data, tmp_path):
    content = metrics_of(checkpoint, data, tmp_path, '--prove')
    assert content['proof']['passed'] is True
    assert content['proof']['head'] == 'Shared2FCBBoxHead, ChunkedMaskHead'
    assert list(content['evaluations']['coco']['scores']['segm']['classes']) == ['Object', 'Tote']


def test_a_test_that_is_not_proved_has_no_proof(checkpoint, data, tmp_path):
    assert metrics_of(checkpoint, data, tmp_path)['proof'] is None


def test_a_test_whose_proof_fails_does_not_begin(checkpoint, data, tmp_path, monkeypatch, capsys):
    spoil(monkeypatch)
    from damamba.cli.test import main

    work_dir = tmp_path / 'new'
    with pytest.raises(SystemExit) as exit_info:
        main([CONFIG, str(checkpoint), '--work-dir', str(work_dir), '--prove', '--cfg-options', f'data_root={data}'])
    assert exit_info.value.code == 1
    assert 'the evaluation does not prove itself' in capsys.readouterr().err
    content = json.loads((work_dir / 'metrics.json').read_text())
    assert content['proof']['passed'] is False and content['metrics'] == content['evaluations'] == {}
    assert (content['split'], content['checkpoint'], content['config']) == ('test', str(checkpoint), CONFIG)
    assert 'speed' not in content and content['command'] == command_line() and content['processes'] == 1
    assert content['ann_file'] == f'{data}/mix-object-tote/test.json'
    assert content['dataset']['name'] == 'mix-object-tote' and len(content['dataset']['sha256']) == 64
    assert content['dataset']['classes'] == ['Object', 'Tote']


def test_a_proof_that_fails_leaves_no_older_figures_or_examples(checkpoint, data, tmp_path, monkeypatch, capsys):
    work_dir = tmp_path / SAME
    (work_dir / 'examples').mkdir(parents=True)
    for name in ('metrics.json', 'examples.json', 'examples/0.jpg'):
        (work_dir / name).write_text('old')
    spoil(monkeypatch)
    with pytest.raises(ProofError):
        metrics_of(checkpoint, data, tmp_path, '--prove', test_subset=SAME)
    content = json.loads((work_dir / 'metrics.json').read_text())
    assert content['proof']['passed'] is False and content['dataset']['name'] == SAME
    assert {path.name for path in work_dir.rglob('*') if path.is_file()} == {'metrics.json'}
    with pytest.raises(SystemExit):
        eval_results.main([str(work_dir / 'metrics.json')])
    shown = capsys.readouterr().err
    assert 'metrics.json has no figures, since the proof of its evaluation failed (ground truth scores 1.000' in shown
    assert f'); python tools/prove_evaluation.py {CONFIG} proves it again' in shown


def test_two_classes_are_tested_on_the_subset_of_one(checkpoint, data, tmp_path):
    content = metrics_of(checkpoint, data, tmp_path, test_subset=SAME)
    assert list(content['evaluations']['coco']['scores']['segm']['classes']) == ['Object']
    assert content['evaluations']['coco']['objects'] == 12
    assert 'by name: Object is category 1, Tote is not there' in logs(tmp_path)


@pytest.mark.parametrize('flags', [[], ['--work-dir', 'mine']])
def test_a_transfer_test_has_a_folder_of_its_own(checkpoint, data, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    run_test(CONFIG, checkpoint, *flags, *settings(data_root=data, test_subset=f'{SAME}/'))
    run_test(CONFIG, checkpoint, *flags, *settings(data_root=data))
    folder = tmp_path / (flags[-1] if flags else 'work_dirs/mask_rcnn_DAMamba_nano_fpn_armbench_demo')
    own, other = (json.loads((f / 'metrics.json').read_text()) for f in (folder, folder / SAME))
    assert (own['evaluations']['coco']['objects'], other['evaluations']['coco']['objects']) == (16, 12)


def test_the_subset_that_a_config_names_itself_is_tested_in_the_work_folder(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        f"_base_ = '{CONFIG}'\ntest_subset = '{SAME}'\n"
        "files = dict(ann_file=f'{test_subset}/test.json', data_prefix=dict(img=f'{test_subset}/images/'))\n"
        'test_dataloader = dict(dataset=files)\n'
    )
    for subset, folder in ((SAME, 'run'), ('mix-object-tote', 'run/mix-object-tote')):
        args = ['--work-dir', 'run', '--cfg-options', f'test_subset={subset}']
        assert configure(parse([str(leaf), 'x.pth', *args])).work_dir == folder


def test_without_test_json_the_log_says_what_is_tested_on(checkpoint, tmp_path):
    armbench.write(tmp_path / 'data', splits=('train', 'val'))
    run_test(CONFIG, checkpoint, '--work-dir', tmp_path / 'run', *settings(data_root=tmp_path / 'data'))
    assert 'mix-object-tote/test.json is not there: testing on' in logs(tmp_path / 'run')


def test_prove_goes_with_figures_alone(capsys):
    with pytest.raises(SystemExit):
        run_test(CONFIG, 'x.pth', '--prove', '--format-only')
    assert 'leave out --prove' in capsys.readouterr().err


def test_figures_that_look_wrong_are_an_error_after_they_are_written(checkpoint, data, tmp_path, monkeypatch, capsys):
    fault = Fault('swapped', '107 of 107 detections')
    monkeypatch.setattr('damamba.evaluation.metric.name_faults', lambda *args: [fault])
    monkeypatch.setattr('damamba.cli.test._prove', lambda cfg: {'passed': True})
    with pytest.raises(ProofError, match='these figures look wrong: swapped: 107 of 107 detections'):
        metrics_of(checkpoint, data, tmp_path, '--prove')
    found = json.loads((tmp_path / 'metrics.json').read_text())['evaluations']['coco']['faults']
    assert found == [{'name': 'swapped', 'evidence': '107 of 107 detections'}]


@pytest.mark.parametrize('option', [['--seed', '-1'], ['--json', 'no/such/folder/proof.json']])
def test_arguments_that_would_fail_at_the_end_fail_at_once(option, capsys):
    with pytest.raises(SystemExit) as exit_info:
        prove_evaluation.parse([CONFIG, *option])
    assert exit_info.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_a_proof_says_what_it_is_of_where_there_is_no_test_json(tmp_path, capsys):
    armbench.write(tmp_path, splits=('train', 'val'))
    prove_evaluation.show([CONFIG, '--cfg-options', f'data_root={tmp_path}'])
    assert 'mix-object-tote/test.json is not there: testing on' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('launcher', 'name'), [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')]
)
def test_one_process_proves_for_all(launcher, name, monkeypatch):
    monkeypatch.setenv(name, '3')
    assert rank_of(launcher) == 3
    assert rank_of('none') == 0
