"""What a run leaves: the last evaluation's figures in metrics.json, how it was run in run.json."""

import hashlib
import json
import logging
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.visualization import DetLocalVisualizer
from mmengine.runner import EpochBasedTrainLoop

from damamba.cli import test as test_command
from damamba.cli import train as train_command
from damamba.cli.common import build_runner
from damamba.engine.command import command_line
from damamba.engine.records import MetricsFileHook, RunFileHook, claim_folder, describe
from damamba.evaluation.comparison import read_draws
from damamba.run_record import read_json
from tests.detection import write_config

VERSIONS = {'damamba', 'torch', 'mmengine', 'mmdet', 'faster_coco_eval'}


def read(work_dir: Path) -> dict:
    return json.loads((work_dir / 'metrics.json').read_text())


def assert_recent(date: str) -> None:
    written = datetime.fromisoformat(date)
    assert 0 <= (datetime.now(timezone.utc) - written).total_seconds() < 600


@pytest.fixture(scope='module')
def trained(tmp_path_factory, coco) -> Path:
    """The work folder of two epochs."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(folder / 'small.py', coco, extra='train_cfg = dict(max_epochs=2)\n')
    DetLocalVisualizer._instance_dict.clear()  # or it writes into the folder of an earlier run of this process
    train_command.train([str(config), '--work-dir', str(folder / 'run'), '--seed', '1'])
    return folder / 'run'


def run_test(config: Path, checkpoint: Path, work_dir: Path, *flags: str) -> dict:
    """Test in this process; return what the run itself returned."""
    argv = [str(config), str(checkpoint), '--work-dir', str(work_dir), *flags]
    return build_runner(test_command.configure(test_command.parse(argv)), ('test',)).test()


def test_validating_writes_the_figures_of_the_last_epoch(trained):
    content = read(trained)
    assert (content['split'], content['epoch'], content['iteration']) == ('val', 2, 8)
    assert content['config'] == str(trained.parent / 'small.py')
    assert_recent(content['date'])
    rows = [json.loads(line) for line in next(trained.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    logged = [row for row in rows if 'coco/bbox_mAP' in row]
    assert [row['step'] for row in logged] == [1, 2]
    assert content['metrics'] == {name: value for name, value in logged[-1].items() if name.startswith('coco/')}


def test_the_draws_lie_beside_the_figures_that_they_are_of(trained):
    content = read(trained)['evaluations']['coco']
    for path in (trained / 'draws.npz', next(trained.glob('*_*/draws.npz'))):
        draws = read_draws(path)
        assert draws.keys() == {'coco/bbox', 'coco/segm'}
        for kind, scores in content['scores'].items():
            rows = draws[f'coco/{kind}']
            assert rows.shape == (1000, 1 + len(scores['classes'])) and rows.dtype == np.float32
            low, high = scores['intervals']['mAP']
            assert rows[:, 0].min() <= low <= high <= rows[:, 0].max()


def test_testing_writes_what_it_returned_to_the_last_digit(trained, tmp_path):
    config, checkpoint = trained.parent / 'small.py', trained / 'epoch_2.pth'
    returned = run_test(config, checkpoint, tmp_path, '--eval', 'bbox', 'segm')
    content = read(tmp_path)
    assert content['metrics'] == returned and len(returned) == 24
    assert (content['split'], content['checkpoint'], content['config']) == ('test', str(checkpoint), str(config))
    assert 'epoch' not in content
    assert_recent(content['date'])
    broken, names = [], ('metrics.json', 'examples.json', '*_*/run.json')
    assert all(read_json(path, broken) for name in names for path in tmp_path.glob(name)) and broken == []


def test_figures_of_two_evaluators_of_one_name_are_both_kept(trained, tmp_path):
    kinds = ', '.join(f"dict(type='CocoMetric', metric='{kind}')" for kind in ('bbox', 'segm'))
    (tmp_path / 'two.py').write_text(f"_base_ = '{trained.parent}/small.py'\ntest_evaluator = [{kinds}]\n")
    metrics = run_test(tmp_path / 'two.py', trained / 'epoch_2.pth', tmp_path / 'run')
    evaluations = read(tmp_path / 'run')['evaluations']
    for name, kind in (('coco', 'bbox'), ('coco 2', 'segm')):
        assert evaluations[name]['scores'][kind]['values']['mAP'] == metrics[f'coco/{kind}_mAP']
    assert read_draws(tmp_path / 'run/draws.npz').keys() == {'coco/bbox', 'coco 2/segm'}


def test_each_run_keeps_its_own_figures_and_the_newest_lie_on_top(trained, tmp_path):
    shutil.copytree(trained, tmp_path / 'run')
    config, own = trained.parent / 'small.py', read(tmp_path / 'run')
    run_test(config, trained / 'epoch_1.pth', tmp_path / 'run', '--eval', 'bbox', 'segm')
    first = read(tmp_path / 'run')
    run_test(config, trained / 'epoch_2.pth', tmp_path / 'run', '--eval', 'bbox', 'segm')
    second = read(tmp_path / 'run')
    kept = [json.loads(path.read_text()) for path in sorted((tmp_path / 'run').glob('*_*/metrics.json'))]
    assert kept == [own, first, second]
    assert [it['split'] for it in kept] == ['val', 'test', 'test']
    examples = [json.loads(path.read_text()) for path in sorted((tmp_path / 'run').glob('*_*/examples.json'))]
    assert len(examples) == 2 and examples[1] == json.loads((tmp_path / 'run/examples.json').read_text())
    assert len(list((tmp_path / 'run').glob('*_*/examples/*.jpg'))) == 2 * len(examples[0]['images'])


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        names = list(pool.map(claim_folder, [str(tmp_path / 'run')] * 3))
    assert sorted(path.name for path in (tmp_path / 'run').iterdir()) == sorted(names) and len(set(names)) == 3
    assert all(re.fullmatch(r'\d{8}_\d{6}', name) for name in names)


def test_runs_of_one_process_have_names_of_their_own_in_two_folders_too(tmp_path):
    names = [claim_folder(str(tmp_path / folder)) for folder in ('one', 'two', 'three')]
    assert len(set(names)) == 3
    assert [[path.name for path in (tmp_path / folder).iterdir()] for folder in ('one', 'two', 'three')] == [
        [name] for name in names
    ]


def test_predictions_of_two_tests_are_both_kept_and_the_newest_lie_on_top(trained, tmp_path):
    for epoch in (1, 2):
        run_test(trained.parent / 'small.py', trained / f'epoch_{epoch}.pth', tmp_path, '--format-only')
    kept = [path.read_text() for path in sorted(tmp_path.glob('*_*/results.segm.json'))]
    assert len(kept) == 2 and kept[0] != kept[1] == (tmp_path / 'results.segm.json').read_text()
    assert sorted(path.name for path in tmp_path.glob('*.*')) == ['results.bbox.json', 'results.segm.json', 'small.py']


def test_versions_are_those_that_are_installed(trained):
    from importlib import metadata

    import damamba

    versions = read(trained)['versions']
    assert set(versions) == VERSIONS and versions['damamba'] == damamba.__version__
    assert versions['faster_coco_eval'] == metadata.version('faster-coco-eval')
    assert versions['torch'].split('+')[0] == metadata.version('torch').split('+')[0]


def test_evaluations_go_by_class_and_agree_with_the_metrics(trained):
    content = read(trained)
    evaluation = content['evaluations']['coco']
    assert (evaluation['images'], evaluation['objects']) == (3, 6)
    for kind, scores in evaluation['scores'].items():
        assert {f'coco/{kind}_{name}': value for name, value in scores['values'].items()}.items() <= (
            content['metrics'].items()
        )
        assert len(scores['classes']) == 80 and set(scores['classes']['person']) >= set(list(scores['values'])[:6])


def test_the_annotations_are_named_and_speed_is_that_of_tests_alone(trained, tmp_path, coco):
    content = read(trained)
    assert content['ann_file'] == str(coco / 'annotations/instances_val2017.json') and 'speed' not in content
    options = ['--cfg-options', 'test_dataloader.batch_size=3']
    run_test(trained.parent / 'small.py', trained / 'epoch_2.pth', tmp_path, *options)
    assert 'speed' not in read(tmp_path)  # one iteration, which is warm-up


def test_formatting_alone_leaves_no_figures(trained, tmp_path):
    assert run_test(trained.parent / 'small.py', trained / 'epoch_2.pth', tmp_path, '--format-only') == {}
    assert (tmp_path / 'results.segm.json').is_file() and not list(tmp_path.glob('metrics.json*'))


def write_with(metrics: dict, work_dir: Path, speed=None) -> None:
    """Hand the hook a run's figures."""
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[]), dataloader=SimpleNamespace(dataset=None))
    cfg = SimpleNamespace(filename='x.py')
    (work_dir / 'now').mkdir(exist_ok=True)
    folders = dict(work_dir=str(work_dir), log_dir=str(work_dir / 'now'))
    runner = SimpleNamespace(**folders, _load_from='x.pth', cfg=cfg, test_loop=loop)
    MetricsFileHook(speed).after_test_epoch(runner, metrics)


def test_the_file_is_never_half_written(tmp_path, monkeypatch):
    write_with({'a': 1.0}, tmp_path)
    before = (tmp_path / 'metrics.json').read_bytes()

    def full_disk(descriptor):
        raise OSError('No space left on device')

    monkeypatch.setattr(os, 'fsync', full_disk)
    with pytest.raises(OSError, match='No space left'):
        write_with({'a': 2.0}, tmp_path)
    assert (tmp_path / 'metrics.json').read_bytes() == before
    monkeypatch.undo()
    write_with({'a': 2.0}, tmp_path)
    assert read(tmp_path)['metrics'] == {'a': 2.0}
    assert {path.name for path in tmp_path.rglob('*') if path.is_file()} == {'metrics.json'}  # there are no draws


def test_figures_of_other_metrics_may_be_numpy_s_and_torch_s(tmp_path):
    """Somebody's own metric may return such, and a training must not end because of it."""
    import numpy as np

    write_with({'a': np.float32(0.5), 'b': np.int64(3), 'c': torch.tensor(0.25)}, tmp_path)
    assert read(tmp_path)['metrics'] == {'a': 0.5, 'b': 3, 'c': 0.25}


def test_a_speed_that_was_measured_is_written_beside_the_metrics(tmp_path):
    from damamba.engine.speed import Speed, Times

    measured = Speed(Times(1, 0.5, 0.5), {'0-5': Times(1, 0.5, 0.5)}, None, 'Some CPU', 'cpu', 1, 1, 1, 3)
    write_with({'a': 1.0}, tmp_path, SimpleNamespace(speed=measured))
    assert read(tmp_path)['speed'] == measured.to_dict()
    write_with({'a': 1.0}, tmp_path, SimpleNamespace(speed=None))
    assert 'speed' not in read(tmp_path)


# What goes with the figures.


def weights_of(checkpoint: Path) -> int:
    """The parameters of a checkpoint: what is neither a buffer of a normalisation nor another constant."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    model = MODELS.build(Config.fromfile(checkpoint.parents[1] / 'small.py').model)
    buffers = {name for name, _ in model.named_buffers()}
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    return sum(value.numel() for name, value in state.items() if name not in buffers)


def test_figures_say_how_they_were_made(trained, tmp_path, coco):
    """Of a model that is fused too, which then has fewer parameters."""
    run_test(trained.parent / 'small.py', trained / 'epoch_2.pth', tmp_path, '--fuse-conv-bn')
    annotations = coco / 'annotations/instances_val2017.json'
    for content in (read(trained), read(tmp_path)):
        assert content['parameters'] == weights_of(trained / 'epoch_2.pth')
        assert content['processes'] == 1 and content['command'] == command_line()
        dataset = content['dataset']
        assert dataset['name'] == 'instances_val2017' and dataset['description'] is None
        assert dataset['classes'][:2] == ['person', 'bicycle'] and len(dataset['classes']) == 80
        assert dataset['sha256'] == hashlib.sha256(annotations.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('data/armbench/mix-object-tote/test.json', 'mix-object-tote'),
        ('s3://bucket/same/val.json', 'same'),
        ('annotations/instances_val2017.json', 'instances_val2017'),
        ('/data/mine/tests.json', 'tests'),
        ('train.json', 'here'),
    ],
)
def test_a_data_set_is_called_as_its_file_or_as_its_folder(tmp_path, monkeypatch, path, name):
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    assert describe([path], ('a', 'b'), {'description': 'What it is'}) == {
        'name': name,
        'classes': ['a', 'b'],
        'description': 'What it is',
        'sha256': None,  # it is not there
    }


@pytest.mark.parametrize('info', [None, {}, [], {'description': 3}])
def test_what_is_not_known_of_a_data_set_is_null(info):
    assert describe([], None, info) == dict(name=None, classes=None, description=None, sha256=None)


def test_the_sum_of_a_file_of_several_blocks_is_that_of_the_whole(tmp_path):
    content = os.urandom(2**20 + 1)
    (tmp_path / 'x.json').write_bytes(content)
    assert describe([str(tmp_path / 'x.json')], None, None)['sha256'] == hashlib.sha256(content).hexdigest()


# How it was run.


def record(work_dir: Path) -> dict:
    (path,) = work_dir.glob('*/run.json')
    assert path.with_name(f'{path.parent.name}.log').is_file()
    return json.loads(path.read_text())


def test_a_training_leaves_how_it_was_run(trained):
    content = record(trained)
    assert (content['mode'], content['seed'], content['batch_size'], content['processes']) == ('train', 1, 1, 1)
    assert content['config'] == str(trained.parent / 'small.py') and set(content['versions']) == VERSIONS
    assert content['parameters'] == weights_of(trained / 'epoch_2.pth') and content['device']
    assert_recent(content['finished'])
    spent = datetime.fromisoformat(content['finished']) - datetime.fromisoformat(content['started'])
    assert 0 < content['seconds'] == pytest.approx(spent.total_seconds(), abs=1.1)


def test_a_test_leaves_how_it_was_run(trained, tmp_path):
    options = ['--cfg-options', 'test_dataloader.batch_size=3']
    run_test(trained.parent / 'small.py', trained / 'epoch_2.pth', tmp_path, *options)
    content = record(tmp_path)
    assert (content['mode'], content['batch_size']) == ('test', 3) and content['seconds'] > 0


def test_a_training_that_is_interrupted_has_no_end(trained, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(EpochBasedTrainLoop, 'run_iter', interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_command.train([str(trained.parent / 'small.py'), '--work-dir', str(tmp_path)])
    content = record(tmp_path)
    assert content['mode'] == 'train' and content['finished'] is content['seconds'] is None
    assert_recent(content['started'])


def test_a_full_disk_ends_no_training(tmp_path, caplog):
    (tmp_path / 'file').touch()
    loop = SimpleNamespace(dataloader=None)
    cfg, logger = SimpleNamespace(filename='x.py'), logging.getLogger('run')
    runner = SimpleNamespace(
        log_dir=str(tmp_path / 'file/run'), model=torch.nn.Linear(2, 3), seed=1, cfg=cfg, logger=logger, train_loop=loop
    )
    hook = RunFileHook()
    for step in (hook.before_run, hook.before_train, hook.after_train):
        step(runner)
    assert caplog.text.count('run.json was not written: [Errno 20] Not a directory') == 2
    assert hook.parameters == 9
