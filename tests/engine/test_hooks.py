"""What the last evaluation measured lies in metrics.json; heads for other classes are refused."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from mmdet.visualization import DetLocalVisualizer

from damamba.cli import test as test_command
from damamba.cli import train as train_command
from damamba.cli.common import build_runner
from damamba.engine.config import ConfigError
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


def test_testing_writes_what_it_returned_to_the_last_digit(trained, tmp_path):
    config, checkpoint = trained.parent / 'small.py', trained / 'epoch_2.pth'
    returned = run_test(config, checkpoint, tmp_path, '--eval', 'bbox', 'segm')
    content = read(tmp_path)
    assert content['metrics'] == returned and len(returned) == 24
    assert (content['split'], content['checkpoint'], content['config']) == ('test', str(checkpoint), str(config))
    assert 'epoch' not in content
    assert_recent(content['date'])


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
    from types import SimpleNamespace

    from damamba.engine.hooks import MetricsFileHook

    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[]))
    cfg = SimpleNamespace(filename='x.py')
    runner = SimpleNamespace(work_dir=str(work_dir), _load_from='x.pth', cfg=cfg, test_loop=loop)
    MetricsFileHook(speed).after_test_epoch(runner, metrics)


def test_the_file_is_never_half_written(tmp_path, monkeypatch):
    write_with({'a': 1.0}, tmp_path)
    before = (tmp_path / 'metrics.json').read_bytes()

    def full_disk(path, text, **options):
        with path.open('w') as file:
            file.write(text[:20])
        raise OSError('No space left on device')

    monkeypatch.setattr(Path, 'write_text', full_disk)
    with pytest.raises(OSError, match='No space left'):
        write_with({'a': 2.0}, tmp_path)
    assert (tmp_path / 'metrics.json').read_bytes() == before
    monkeypatch.undo()
    write_with({'a': 2.0}, tmp_path)
    assert read(tmp_path)['metrics'] == {'a': 2.0}
    assert [path.name for path in tmp_path.iterdir()] == ['metrics.json']


def test_figures_of_other_metrics_may_be_numpy_s_and_torch_s(tmp_path):
    """Somebody's own metric may return such, and a training must not end because of it."""
    import numpy as np
    import torch

    write_with({'a': np.float32(0.5), 'b': np.int64(3), 'c': torch.tensor(0.25)}, tmp_path)
    assert read(tmp_path)['metrics'] == {'a': 0.5, 'b': 3, 'c': 0.25}


def test_a_speed_that_was_measured_is_written_beside_the_metrics(tmp_path):
    from types import SimpleNamespace

    from damamba.engine.speed import Speed, Times

    measured = Speed(Times(1, 0.5, 0.5), {'0-5': Times(1, 0.5, 0.5)}, None, 'Some CPU', 'cpu', 1, 1, 1, 3)
    write_with({'a': 1.0}, tmp_path, SimpleNamespace(speed=measured))
    assert read(tmp_path)['speed'] == measured.to_dict()
    write_with({'a': 1.0}, tmp_path, SimpleNamespace(speed=None))
    assert 'speed' not in read(tmp_path)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'model.roi_head.mask_head.num_classes=7',
            r'`num_classes` \(7\) in ChunkedMaskHead .*`classes` 80\) in CocoDataset',
        ),
        (
            'train_dataloader.dataset.metainfo.classes=("person","car")',
            r'\(80\) in .*Head .*`classes` 2\) in CocoDataset',
        ),
    ],
)
def test_heads_for_another_number_of_classes_are_refused_before_an_epoch_is_spent(
    small_config, tmp_path, option, message
):
    with pytest.raises(ConfigError, match=message):
        train_command.train([str(small_config), '--work-dir', str(tmp_path), '--cfg-options', option])
    assert not list(tmp_path.glob('*.pth'))
