"""Where `mmcv._ext` comes from: a compiled one that loads, else the stand-in, in every process of an installation."""

import _ctypes
import ctypes
import json
import os
import pkgutil
import re
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace

import pytest

from damamba import mmcv_ops
from damamba.mmcv_ops import EXTENSION, ExtensionFinder, stand_in
from tests.detection import write_config


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run Python as after an installation: in another folder, without a path to the checkout."""
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'} | {'MPLBACKEND': 'agg'}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_without_a_compiled_one_the_stand_in_is_found(tmp_path):
    assert ExtensionFinder.find_spec(EXTENSION, [str(tmp_path)]).origin == stand_in.__file__


def test_a_compiled_one_that_loads_is_taken(tmp_path, monkeypatch):
    path = tmp_path / f'_ext{EXTENSION_SUFFIXES[0]}'
    path.touch()
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: SimpleNamespace(PyInit__ext=name))
    assert ExtensionFinder.find_spec(EXTENSION, [str(tmp_path)]).origin == str(path)


def test_one_that_does_not_load_is_passed_over_with_a_warning(tmp_path):
    (tmp_path / f'_ext{EXTENSION_SUFFIXES[0]}').write_bytes(b'compiled for another torch')
    with pytest.warns(UserWarning, match="mmcv's compiled operators do not load, torchvision's stand in"):
        assert ExtensionFinder.find_spec(EXTENSION, [str(tmp_path)]).origin == stand_in.__file__


def test_a_folder_or_another_extension_by_that_name_is_passed_over(tmp_path):
    (tmp_path / 'a' / '_ext').mkdir(parents=True)
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / f'_ext{EXTENSION_SUFFIXES[0]}').symlink_to(_ctypes.__file__)  # has another PyInit
    for folder in ('a', 'b'):
        with pytest.warns(UserWarning, match="mmcv's compiled operators do not load"):
            assert ExtensionFinder.find_spec(EXTENSION, [str(tmp_path / folder)]).origin == stand_in.__file__


def test_no_other_module_is_found():
    for name in ('mmcv', 'mmcv.ops', 'mmcv._ext.x', 'torch', '_ext'):
        assert ExtensionFinder.find_spec(name) is None


def test_it_is_installed_once_and_says_what_is_there():
    mmcv_ops.install()
    mmcv_ops.install()
    assert sys.meta_path.count(ExtensionFinder) == 1
    compiled = Path(sys.modules[EXTENSION].__file__) != Path(stand_in.__file__)
    assert mmcv_ops.describe().startswith('compiled' if compiled else 'torchvision')


def test_mmcvs_own_question_whether_operators_are_there_has_an_answer(monkeypatch):
    """It asks `pkgutil.find_loader`, which Python 3.14 no longer has."""
    from mmcv.utils import ext_loader

    monkeypatch.delattr(pkgutil, 'find_loader', raising=False)
    assert ext_loader.check_ops_exist()


# Every process --------------------------------------------------------------------------------------------------------

START_UP = Path(sysconfig.get_path('purelib')) / 'damamba-mmcv-ops.pth'
installed = pytest.mark.skipif(not START_UP.exists(), reason='the package is not installed, and its .pth neither')


@installed
def test_mmcvs_operators_import_before_anything_of_ours(tmp_path):
    code = 'import mmcv.ops, mmcv._ext, torch; print(mmcv.ops.nms(torch.eye(4), torch.ones(4), 0.5)[1].tolist())'
    assert run('-c', code, cwd=tmp_path).stdout == '[0, 1, 2, 3]\n'


@installed
def test_a_python_that_imports_no_mmcv_loads_next_to_nothing(tmp_path):
    names = 'sorted(name for name in sys.modules if name.split(".")[0] in ("damamba", "torch", "mmcv", "ctypes"))'
    found = run('-c', f'import json, sys; print(json.dumps({names}))', cwd=tmp_path).stdout
    assert json.loads(found) == ['damamba', 'damamba.mmcv_ops']


@installed
def test_an_installation_whose_checkout_is_gone_does_not_disturb_python(tmp_path):
    code = f"import sys; sys.modules['damamba.mmcv_ops'] = None; exec({START_UP.read_text()!r}); print('on')"
    done = run('-c', code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ('on\n', '')


SPAWN = """
import damamba.register
from torch.utils.data import DataLoader
from mmdet.datasets import CocoDataset
import sys

if __name__ == '__main__':
    pipeline = [dict(type='mmdet.LoadAnnotations', with_bbox=True), dict(type='mmdet.PackDetInputs', meta_keys=())]
    files = dict(ann_file='annotations/instances_val2017.json', data_prefix=dict(img='val2017/'))
    dataset = CocoDataset(data_root=sys.argv[1], pipeline=pipeline, **files)
    loader = DataLoader(dataset, num_workers=1, multiprocessing_context='spawn', collate_fn=list)
    print(sum(len(batch[0]['data_samples'].gt_instances.bboxes) for batch in loader))
"""


@installed
def test_spawned_workers_have_the_operators(coco, tmp_path):
    (tmp_path / 'spawn.py').write_text(SPAWN)
    assert run('spawn.py', str(coco), cwd=tmp_path).stdout.splitlines()[-1] == '6'


# MMDetection's own tools, which import `mmcv.ops` before they read a config ------------------------------------------

FEW = """
metainfo = dict(classes=('person', 'bicycle', 'car'))
train_dataloader['dataset']['metainfo'] = loader['dataset']['metainfo'] = metainfo
model['roi_head']['bbox_head']['num_classes'] = model['roi_head']['mask_head']['num_classes'] = 3
"""
TOOLS = """
import json, os, runpy, sys
import mmdet.apis  # once, and nothing of ours: each tool runs in a fork

for sys.argv in json.loads(sys.argv[1]):
    if os.fork() == 0:
        runpy.run_path(sys.argv[0], run_name='__main__')
        sys.exit()
    status = os.waitstatus_to_exitcode(os.wait()[1])
    if status:
        sys.exit(f'{sys.argv[0]} ended with {status}')
"""


@installed
def test_mmdetections_own_tools_run_our_configs(coco, tmp_path):
    import mmdet

    write_config(tmp_path / 'small.py', coco, extra=FEW)
    tools = Path(mmdet.__file__).parent / '.mim' / 'tools'
    commands = [
        ['train.py', 'small.py', '--amp', '--work-dir', 'runs'],
        ['test.py', 'small.py', 'runs/epoch_1.pth', '--work-dir', 'runs'],
        ['analysis_tools/get_flops.py', 'small.py'],
        ['misc/print_config.py', 'small.py'],
    ]
    lines = json.dumps([[str(tools / name), *arguments] for name, *arguments in commands])
    output = run('-c', TOOLS, lines, cwd=tmp_path).stdout
    tested, printed = output.split('Flops: ')
    assert {'bbox_mAP', 'segm_mAP'} <= set(re.findall(r'coco/(\w+): ', tested.split('Load checkpoint from')[-1]))
    assert printed.count(f"data_root='{coco}'") == 4  # of three data sets, and of the variable that they share
