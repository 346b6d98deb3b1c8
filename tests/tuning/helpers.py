"""A config that is quickly read, and a stand-in for its training that is over in a moment."""

import sys
import textwrap
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import optuna
from optuna.storages import InMemoryStorage

from damamba.tuning.space import Parameter
from damamba.tuning.storage import open_storage
from damamba.tuning.study import Task, make_pruner, make_sampler, open_study, queue_own_values
from damamba.tuning.training import Training
from damamba.tuning.worker import Worker

CONFIG = """
max_epochs = 3
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[2]),
]
train_dataloader = dict(batch_size=2, sampler=dict(shuffle=True))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='auto'))
"""

FAKE = """
import json, math, os, signal, sys, time
from pathlib import Path

assert os.environ['DAMAMBA_STUDY'] == '1'
cfg = {}
exec(Path(sys.argv[1]).read_text(), cfg)
folder = Path(sys.argv[2]) / '20260101_000000' / 'vis_data'
folder.mkdir(parents=True)
lr = cfg.get('optim_wrapper', {}).get('optimizer', {}).get('lr')
number = int(Path(sys.argv[1]).stem.split('_')[1])
log = (folder / 'scalars.json').open('w')


def row(**values):
    log.write(json.dumps(values) + '\\n')
    log.flush()


def validated(epoch, value, name='coco/segm_mAP'):
    row(loss=1.0, epoch=epoch, iter=10 * epoch, step=10 * epoch)
    row(step=epoch, **{name: value})


"""
PEAK = """
for epoch in (1, 2, 3):
    validated(epoch, (0.6 - abs(math.log10(lr) + 3) / 5) * epoch / 3)
"""

IN_MEMORY: dict[Path, InMemoryStorage] = {}  # by the folder, for what goes on with a study
LR = Parameter('optim_wrapper.optimizer.lr', 'float', low=1e-5, high=1e-2, log=True)


def write_config(folder: Path, text: str = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f'.{uuid.uuid4().hex}'  # several workers may write it while others read it
    beside.write_text(text)
    return beside.rename(folder / 'base.py')


def command(script: Path, config: Path, folder: Path) -> list[str]:
    return [sys.executable, '-S', '-E', str(script), str(config), str(folder)]


def fake_training(folder: Path, body: str = PEAK, **settings) -> Training:
    """A training that is ``body``: it sees lr, number, cfg, and writes what validation has measured."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / 'fake.py'
    script.write_text(FAKE + textwrap.dedent(body))
    return Training(partial(command, script), **{'poll_s': 0.02, **settings})


def make_worker(
    folder: Path, total: int, storage: str = '', body: str = PEAK, space: Sequence[Parameter] = (LR,), **settings
) -> Worker:
    """A worker on a study that lies in ``folder/study``; in memory, unless a storage is named."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    said, training, heartbeat = settings.pop('said', []), settings.pop('training', {}), settings.pop('heartbeat', ())
    pruner, sampler = settings.pop('pruner', 'none'), settings.pop('sampler', 'random')
    name = settings.pop('name', 'study')
    task = Task(write_config(folder), list(space), folder / 'study', **settings)
    opened = open_storage(storage, *heartbeat) if storage else IN_MEMORY.setdefault(folder, InMemoryStorage())
    study = open_study(opened, name, task, make_pruner(pruner, total))
    study.sampler = make_sampler(sampler, total, 0, study)
    queue_own_values(study, task, said.append)
    return Worker(study, task, fake_training(folder, body, **training), total, said.append, poll_s=0.05)


def tuned(folder: Path, total: int, **settings) -> optuna.Study:
    worker = make_worker(folder, total, **settings)
    worker.run()
    return worker.study
