import os
import subprocess
import sys

import pytest
from mmdet.registry import HOOKS, METRICS, MODELS, TASK_UTILS
from mmengine.registry import OPTIM_WRAPPERS, RUNNERS

import damamba.register  # noqa: F401
from damamba.models import ARCHS, DAMamba
from tests.detection import ROOT

SMALL = dict(depths=(1, 1, 1, 1), dims=(16, 16, 32, 32))


@pytest.mark.parametrize('arch', ARCHS)
def test_published_configs_find_their_backbone(arch):
    with pytest.warns(UserWarning, match='pretrain_size and img_size have no effect'):
        backbone = MODELS.build(dict(type=f'DAMamba_{arch}', pretrained=None, pretrain_size=224, img_size=800))
    assert isinstance(backbone, DAMamba) and backbone.arch is ARCHS[arch]


def test_the_backbone_is_registered_by_its_own_name():
    assert isinstance(MODELS.build(dict(type='DAMamba', arch=SMALL)), DAMamba)


@pytest.mark.parametrize('name', ['DAMamba', 'DAMamba_tiny'])
def test_an_unknown_key_is_an_error_that_names_it(name):
    with pytest.raises(TypeError, match="unexpected keyword argument 'use_checkpoint'"):
        MODELS.build(dict(type=name, use_checkpoint=True))


def test_what_configs_name_is_registered():
    names = {
        MODELS: ['Float32RoIExtractor', 'Float32RPNHead', 'TorchvisionPreprocessor'],
        TASK_UTILS: ['Float32BBoxCoder', 'RoundedAnchorGenerator'],
        HOOKS: ['FuseConvBNHook'],
        METRICS: ['CocoInstanceMetric'],
        OPTIM_WRAPPERS: ['Bfloat16OptimWrapper'],
        RUNNERS: ['DAMambaRunner'],
    }
    assert all(registry.get(name) is not None for registry, entries in names.items() for name in entries)


@pytest.mark.parametrize(('name', 'reason'), [('cv2', 'libGL.so.1: cannot open shared object file'), ('mmdet', 'gone')])
def test_what_does_not_import_is_a_sentence_that_says_what_to_run(tmp_path, name, reason):
    (tmp_path / f'{name}.py').write_text(f'raise ImportError({reason!r})')
    env = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'}
    command = [sys.executable, '-c', 'import damamba.register']
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    sentence = f'ImportError: MMDetection does not load ({reason}): `{sys.executable} -m damamba doctor` names '
    assert done.returncode == 1 and last.startswith(sentence)
