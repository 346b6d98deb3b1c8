"""The documents' commands, block by block, as they stand there.

They run in a copy of the checkout whose `data/coco` is a small set of synthetic scenes, and whose recipes are cut down
to it. What is changed in a command is in CHANGES; nothing else is.
"""

import re
import shutil
import stat
from pathlib import Path

import pytest

from damamba.datasets.demo import CLASSES, write_shapes
from damamba.models import ARCHS
from tests.detection import ROOT
from tests.e2e.shell import free_port, run

TINY = 'mask_rcnn_DAMamba_tiny_fpn_1x_coco'
CHANGES = (
    (r'^(make install)$', rf'\1 --directory {ROOT}'),  # the environment of these tests, which is there
    (r'^python3 -m venv .venv( && .*)?$', 'true'),
    (r'^mkdir -p data && ln -s /path/to/coco data/coco$', 'test -d data/coco'),
    (r' --cfg-options model.backbone.pretrained=https\S+', ''),  # there is no network
    (r'^pip install -r requirements.txt$', 'true'),
    (r'^(make demo)( ARGS="(.*)")?$', r'\1 --assume-old=install ARGS="\3 DEMO"'),
    (r'DEMO', '--images 8 --val-images 4 --epochs 1'),  # test_demo.py runs it in full
    (r"^(pip install) ('?\.[^-]*)$", r'\1 --no-deps --no-build-isolation --upgrade --target alone \2'),
    (r'^(python tools/make_demo_data.py armbench .*)$', r'\1 --images 8 --long-side 160'),
    (r'--trials 8\b', '--trials 2'),  # test_demo.py takes more
    (r'(\.py) 8\b', r'\1 1'),  # processes
    (r'(checkpoint_file|epoch_12\.pth) 8\b', r'\1 1'),
    (r'--images 80 --val-images 20\b', '--images 16 --val-images 4'),
    (r'--images 200\b', '--images 8'),
    (r'/path/to/checkpoint_file', 'drawn.pth'),
    (r'epoch_1[26]\.pth|(?<=demo/)epoch_6\.pth', 'epoch_1.pth'),
    (r'/datasets/coco', 'data/coco'),
    (r'10\.0\.0\.1 PORT=29500', 'localhost PORT=$PORT'),
    (r'--show-dir', '--show-score-thr 0 --show-dir'),
)
REDUCED_DATA = f"""
metainfo = dict(classes={CLASSES})
load = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(128, 128), keep_ratio=True)]
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
pack = dict(type='PackDetInputs', meta_keys=keys)
dataset = dict(type='NamedCocoDataset', metainfo=metainfo, pipeline=[load[0], annotations, load[1], pack])
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
test_dataloader = val_dataloader
"""
REDUCED_MODEL = f"""
model['train_cfg'] = dict(rcnn=dict(sampler=dict(num=32)))
model['roi_head'] |= dict(bbox_head=dict(num_classes={len(CLASSES)}), mask_head=dict(num_classes={len(CLASSES)}))
"""
SRUN = """#!/usr/bin/env bash
# A Slurm of one task.
while [[ $1 == --* ]]; do shift; done
SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_LOCALID=0 MASTER_ADDR=localhost MASTER_PORT=$PORT exec "$@"
"""


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding='utf-8')
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def changed(block: str) -> str:
    """The block as a script; the commands of several machines run at once."""
    for pattern, replacement in CHANGES:
        block = re.sub(pattern, replacement, block, flags=re.MULTILINE)
    machines = re.sub(r'^(NNODES=.*)$', r'\1 & pids="$pids $!"', block, flags=re.MULTILINE)
    return f'set -e\n{machines}\nfor pid in $pids; do wait $pid; done\n'


def cases(*documents: str) -> list:
    """The blocks of commands of these documents, each a parameter (document, block)."""
    found = [(document, block) for document in documents for block in blocks(document, 'bash')]
    return [pytest.param(d, block, id=f'{d}-{block.splitlines()[0][:60]}') for d, block in found]


def run_block(checkout: Path, block: str) -> None:
    python = f'{checkout}/bin/python'
    settings = {'PYTHONPATH': str(checkout), 'PORT': free_port(), 'PYTHON': python, 'PYTHON_EXEC': python}  # torchrun's
    run(['bash', '-c', f'PATH={checkout}/bin:$PATH\n{changed(block)}'], checkout, **settings)


def write_checkout(folder: Path, python: str) -> None:
    """Copy what a user has, with reduced recipes, small data, and a detector whose weights were drawn.

    ``python`` is the command that its `python` runs.
    """
    for name in run(['git', 'ls-files']).splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    _reduce(folder)
    write_shapes(folder / 'data/coco', images=4, val_images=2, size=128)
    _draw_weights(folder)
    (config,) = [block for block in blocks('README.md', 'python') if 'data/mine/' in block]
    (folder / 'configs/mine.py').write_text(config.replace('demo/epoch_6', 'demo/epoch_1'))  # see DEMO in CHANGES
    (pick,) = [block for block in blocks('docs/predict.md', 'python') if 'pick_points' in block]
    (folder / 'pick.py').write_text(pick)
    for name, block in zip(('theirs', 'mended', 'why'), blocks('docs/diagnose.md', 'python'), strict=True):
        (folder / f'{name}.py').write_text(block)
    _program(folder / 'bin/srun', SRUN)
    for place in ('bin', '.venv/bin'):
        _program(folder / place / 'python', f'#!/usr/bin/env bash\nexec {python} "$@"\n')
    (folder / '.venv/bin/activate').write_text('')


def _program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(stat.S_IRWXU)


def _reduce(folder):
    def append(name, text):
        path = folder / 'configs/_base_' / name
        path.write_text(path.read_text() + text)

    append('datasets/coco_instance.py', REDUCED_DATA)
    append('models/mask_rcnn_damamba_fpn.py', REDUCED_MODEL)
    append('schedules/adamw_1x.py', "\ntrain_cfg['max_epochs'] = 1\n")
    for path in (folder / 'configs').glob('mask_rcnn_DAMamba_*.py'):  # a block a stage
        path.write_text(re.sub(r"arch='(\w+)'", _shallow, path.read_text()))
    path = folder / 'configs/armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo.py'
    text = path.read_text().replace('max_epochs = 16', 'max_epochs = 1').replace('demo/epoch_6', 'demo/epoch_1')
    path.write_text(text)


def _shallow(arch):
    return f'arch=dict(depths=(1, 1, 1, 1), dims={ARCHS[arch[1]].dims})'


def _draw_weights(folder):
    script = (
        'import torch\n'
        'from mmengine.config import Config\n'
        'import damamba.register\n'
        'from mmdet.registry import MODELS\n'
        f"cfg = Config.fromfile('configs/{TINY}.py')\n"
        "torch.save(MODELS.build(cfg.model).state_dict(), 'drawn.pth')\n"
    )
    run(['python', '-c', script], folder)
