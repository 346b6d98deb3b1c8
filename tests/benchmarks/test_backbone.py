import subprocess
import sys

import pytest

from benchmarks import backbone, peers, runner
from benchmarks.runner import Shape, Timing
from tests.benchmarks.helpers import read_csv

TINY = ['--device', 'cpu', '--threads', '1', '--repeat', '1', '--forward', '1x64x64', '--train', '1x64x64']


@pytest.fixture
def without_mmdet(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet', None)


def test_models_stand_beside_swin_and_mmdets_are_skipped_where_it_is_missing(
    tmp_path, capsys, monkeypatch, without_mmdet
):
    monkeypatch.setitem(runner.SCRATCH, 'cpu', 2**20)
    out = tmp_path / 'backbone.csv'
    names = ['damamba', 'damamba-whole', 'damamba-cp', 'swin-mmdet', 'swin-timm']
    backbone.main([*TINY, '--models', *names, '--out', str(out)])
    rows = {(row['measure'], row['model']): row for row in read_csv(out)}
    assert {measure for measure, _ in rows} == set(backbone.ALONE)
    for measure in ('forward', 'train', 'memory'):
        ours, swin = rows[measure, 'DAMamba-T'], rows[measure, 'Swin-T (timm)']
        assert float(ours['ratio']) == pytest.approx(float(ours['median']) / float(swin['median']), rel=1e-4)
        assert float(swin['ratio']) == 1 and ours['against'] == 'Swin-T (timm)'
        assert rows[measure, 'Swin-T (MMDetection)']['note'].startswith('skipped: MMDetection can not be imported')
    assert ('forward', 'DAMamba-T, with_cp') not in rows and ('train', 'DAMamba-T, nothing dropped') in rows
    kept, checkpointed = (float(rows['memory', m]['median']) for m in ('DAMamba-T', 'DAMamba-T, with_cp'))
    assert 0 < checkpointed < 0.5 * kept
    assert float(rows['operators', 'both operators']['median']) > 0
    shown = capsys.readouterr().out
    assert 'of Swin-T (timm)' in shown and 'skipped: MMDetection' in shown and 'of DAMamba-T, nothing dropped' in shown


def test_mmdets_swin_is_the_swin_if_it_ran():
    both = {'swin-timm': Timing(1.0), 'swin-mmdet': Timing(2.0)}
    assert backbone.find_baseline(both) == 'swin-mmdet'
    assert backbone.find_baseline({**both, 'swin-mmdet': Timing(note='not run')}) == 'swin-timm'
    assert backbone.find_baseline({'damamba': Timing(1.0)}) is None


@pytest.mark.parametrize('name', [name for name in peers.PEERS if not name.startswith('damamba-')])
def test_every_peer_gives_four_maps(name):
    package = peers.PEERS[name].package
    pytest.importorskip(package)
    shape = Shape(1, 64, 96)
    features = peers.forward_step(peers.build(name, shape, 'cpu', False), peers.picture(shape, 'cpu'), 'fp32')()
    sizes = [sorted(f.shape[1:])[:2] for f in features]
    assert sizes == [[16, 24], [8, 12], [4, 6], [2, 3]]


def test_a_step_leaves_a_gradient_for_every_parameter():
    shape = Shape(2, 64, 64)
    model = peers.build('damamba', shape, 'cpu', True)
    peers.train_step(model, peers.picture(shape, 'cpu'), 'bf16')()
    assert model.training
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_busy_machine_is_measured_beside_convnext_and_left_alone_afterwards(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen

    def note(command, **options):
        process = popen(command, **options)
        started.extend([process] if 'while True: pass' in command else [])
        return process

    monkeypatch.setattr(subprocess, 'Popen', note)
    out = tmp_path / 'busy.csv'
    backbone.main([*TINY, '--models', 'damamba', 'convnext-timm', 'swin-timm', '--busy', '--out', str(out)])
    rows = {row['model']: row for row in read_csv(out)}
    assert {row['measure'] for row in rows.values()} == {'busy'} and len(rows) == 3
    assert float(rows['ConvNeXt-T (timm)']['ratio']) == 1 and rows['DAMamba-T']['against'] == 'ConvNeXt-T (timm)'
    assert len(started) == 1 and started[0].returncode is not None
    assert backbone.parse(['--busy', '--device', 'cpu']).out.name == 'backbone_busy_cpu.csv'
