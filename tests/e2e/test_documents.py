"""Every command of the documents, block by block, as it stands there.

They run in order, since some need what earlier ones left, in a copy of the checkout whose `data/coco` is a small set of
synthetic scenes, and whose recipes are cut down to it. What is changed in a command is in CHANGES; nothing else is.
"""

import csv
import json
import re
import shutil
import stat
import sys

import pytest

from damamba.datasets.demo import CLASSES, write_shapes
from damamba.models import ARCHS
from tests.browser import open_page
from tests.detection import ROOT
from tests.e2e.shell import free_port, run

pytestmark = pytest.mark.e2e

DOCUMENTS = (
    'README.md',
    'docs/install.md',
    'docs/commands.md',
    'docs/evaluation.md',
    'docs/predict.md',
    'docs/explain.md',
    'docs/custom_dataset.md',
    'docs/armbench.md',
    'docs/report.md',
    'docs/tuning.md',
)
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
    (r'--trials 8\b', '--trials 2'),  # test_demo.py takes 8
    (r'(\.py) 8\b', r'\1 1'),  # processes
    (r'(checkpoint_file) 8\b', r'\1 1'),
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


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of what a user has, with reduced recipes, small data, and a detector whose weights were drawn."""
    folder = tmp_path_factory.mktemp('checkout')
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
    _program(folder / 'bin/srun', SRUN)
    _program(folder / '.venv/bin/python', f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n')
    (folder / '.venv/bin/activate').write_text('')
    return folder


def _program(path, text):
    path.parent.mkdir(parents=True)
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


CASES = [(document, block) for document in DOCUMENTS for block in blocks(document, 'bash')]


@pytest.mark.parametrize(('document', 'block'), CASES, ids=[f'{d}-{b.splitlines()[0][:60]}' for d, b in CASES])
def test_a_block_of_commands_runs(checkout, document, block):
    settings = {'PYTHONPATH': str(checkout), 'PORT': free_port()}
    run(['bash', '-c', f'PATH={checkout}/bin:$PATH\n{changed(block)}'], checkout, **settings)


FAMILIES = {
    'DAMamba, nano': 'mask_rcnn_DAMamba_nano_fpn',
    'ResNet-50': 'mask_rcnn_r50_fpn',
    'Mask2Former, Swin-B': 'mask2former_swin-b-p4-w12-384',
}
SUBSETS = ('mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set')


def metrics_of(checkout, family, subset):
    folder = checkout / f'work_dirs/{family}_armbench_demo'
    return json.loads(((folder if subset == SUBSETS[0] else folder / subset) / 'metrics.json').read_text())


def test_the_report_of_three_families_has_their_figures_to_the_last_digit(checkout):
    rows = list(csv.DictReader((checkout / 'work_dirs/report/comparison.csv').open(encoding='utf-8')))
    assert sorted((row['run'], row['data set']) for row in rows) == sorted((r, s) for r in FAMILIES for s in SUBSETS)
    for row in rows:
        metrics = metrics_of(checkout, FAMILIES[row['run']], row['data set'])
        scores = metrics['evaluations']['coco']['scores']
        for kind in ('bbox', 'segm'):
            for name in ('mAP', 'mAP_50', 'mAP_75'):
                assert float(row[f'{kind}_{name}']) == scores[kind]['values'][name]
        assert row['Object segm_mAP'] in ('', repr(scores['segm']['classes']['Object']['mAP']))
        speed = metrics.get('speed')  # of a test set that the first, unmeasured iterations do not exhaust
        assert row['seconds'] == (repr(speed['overall']['median']) if speed else '')
        assert row['proof'] == 'proved'


def test_the_report_opens_in_a_browser_with_every_picture(checkout, tmp_path):
    told, console = open_page(checkout / 'work_dirs/report/report.html', tmp_path)
    assert len(told['images']) == len(list((checkout / 'work_dirs/report').glob('*.png'))) >= 15
    assert all(complete and width > 300 and alt for complete, width, alt in told['images'])
    assert told['problems'] == [] and 'CONSOLE' not in console


def test_they_left_what_the_documents_say(checkout):
    found = {str(path.relative_to(checkout)) for path in checkout.rglob('*') if path.is_file()}
    assert {'predictions.pkl', 'scores.json', 'work_dirs/mine/metrics.json'} <= found
    demo = {'metrics.json', 'curves.png', 'detections.png', 'predictions.segm.json'}
    assert {f'work_dirs/demo/{name}' for name in demo} <= found
    for family in FAMILIES.values():
        for subset in SUBSETS:
            assert metrics_of(checkout, family, subset)['proof']['passed']
    for study in ('mine', 'mask_rcnn_DAMamba_nano_fpn_armbench_demo'):
        assert {f'work_dirs/{study}_tuning/{name}' for name in ('best.py', 'trials.csv', 'history.png')} <= found
    assert any(re.fullmatch(r'work_dirs/mine/\d+_\d+/pictures/.*\.jpg', name) for name in found)
    assert any(re.fullmatch(r'tiny-[0-9a-f]{8}\.pth', name) for name in found)
