"""Weights of others through the command: what it says, what it writes, what it refuses."""

import textwrap

import pytest
import torch
from mmengine.config import Config
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from damamba.checkpoint import read
from damamba.cli import convert_weights
from tests.detection import ROOT

OWN = """
_base_ = {base!r}
classes = ('nut', 'bolt')
model = dict(roi_head=dict(bbox_head=dict(num_classes=2, absent=0), mask_head=dict(num_classes=2)))
dataset = dict(metainfo=dict(classes=classes))
test_dataloader = dict(dataset=dataset)
"""


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
    """Weights for two classes, as ARMBench's lie in their file."""
    model = MaskRCNN(resnet_fpn_backbone(backbone_name='resnet50', weights=None), 3)
    path = tmp_path_factory.mktemp('theirs') / 'latest.pt'
    torch.save({'epoch': 9, 'model_state_dict': model.state_dict()}, path)
    return path


@pytest.fixture(scope='module')
def state(theirs):
    return read(theirs)['model_state_dict']


def convert(*argv):
    convert_weights.main([str(it) for it in argv])


def test_armbenchs_detector_there_and_back(theirs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    convert(theirs, tmp_path / 'armbench.pth')
    said = capsys.readouterr().out
    config = 'configs/armbench/mask_rcnn_r50_fpn_torchvision_armbench.py'
    assert 'classes: Object <- row 2, Tote <- row 1\n' in said
    assert f'filled: 360 of 360 parameters and buffers of {config}\n' in said
    assert '  53 that the source does not have, backbone.bn1.num_batches_tracked ...: 0: ' in said
    assert 'left: roi_heads.box_predictor.bbox_pred, row 0: of background\n' in said
    assert "note: classes taken for ARMBench's (2 rows); name others with --classes\n" in said
    assert 'licence: ' in said and 'model.backbone.norm_cfg.eps=1e-5' in said
    assert said.endswith(f'next: bash dist_test.sh {config} {tmp_path / "armbench.pth"} 1 --eval bbox segm\n')
    content = read(tmp_path / 'armbench.pth')
    assert tuple(content['meta']['dataset_meta']['classes']) == ('Object', 'Tote')
    assert content['meta']['converted']['source'] == 'torchvision'
    convert(tmp_path / 'armbench.pth', tmp_path / 'back.pth', '--to', 'torchvision')
    said = capsys.readouterr().out
    assert 'row 1 is Tote, row 2 is Object' in said
    assert 'epsilon of the batch normalisation: 0.0\n' in said and "licence: ARMBench's data" in said
    found = {}
    exec(textwrap.dedent(said.split('back.pth, for this model:\n')[1]), found)
    assert {it.eps for it in found['model'].modules() if hasattr(it, 'running_var')} == {0.0}
    state, back = read(theirs)['model_state_dict'], torch.load(tmp_path / 'back.pth', weights_only=True)
    assert state.keys() == back.keys()
    differing = {name.rpartition('.')[0] for name in state if not torch.equal(state[name], back[name])}
    assert {name.split('.')[-1] for name in differing} == {'bbox_pred', 'mask_fcn_logits'}  # background's


def test_classes_go_to_a_configs_order_by_their_names(theirs, tmp_path, capsys):
    base = str(ROOT / 'configs' / 'torchvision' / 'mask_rcnn_r50_fpn_coco.py')
    (tmp_path / 'own.py').write_text(OWN.format(base=base))
    convert(theirs, tmp_path / 'own.safetensors', '--classes', 'Bolt', 'Nut', '--config', tmp_path / 'own.py')
    said = capsys.readouterr().out
    assert 'classes: nut <- row 2, bolt <- row 1\n' in said
    assert f'next: bash dist_test.sh {tmp_path / "own.py"}' in said
    bias = read(tmp_path / 'own.safetensors')['state_dict']['roi_head.bbox_head.fc_cls.bias']
    given = read(theirs)['model_state_dict']['roi_heads.box_predictor.cls_score.bias']
    assert torch.equal(bias, given[[2, 1, 0]])
    convert(theirs, tmp_path / 'own.pth', '--classes', 'Bolt', 'Nut')
    assert 'next: a config for these classes that builds on' in capsys.readouterr().out


@pytest.mark.parametrize(('kind', 'ending'), [(torch.float16, 'safetensors'), (torch.bfloat16, 'pth')])
def test_weights_of_half_precision_go_there_and_back_as_single(theirs, tmp_path, kind, ending):
    state = {name: value.to(kind) for name, value in read(theirs)['model_state_dict'].items()}
    torch.save(state, tmp_path / 'half.pt')
    convert(tmp_path / 'half.pt', tmp_path / f'ours.{ending}')  # which fills a model with them
    convert(tmp_path / f'ours.{ending}', tmp_path / 'back.pth', '--to', 'torchvision')
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    changed = {name.split('.')[-2] for name in state if not torch.equal(state[name].float(), back[name])}
    assert changed == {'bbox_pred', 'mask_fcn_logits'} and state.keys() == back.keys()  # background's


TRAINED = dict(weights=None, weights_backbone=None)
EPSILON, ABSENT = ('model.backbone.norm_cfg.eps=1e-5', 'model.roi_head.bbox_head.absent=0')


@pytest.mark.parametrize(
    ('rows', 'config', 'typed'),
    [
        (81, 'configs/torchvision/mask_rcnn_r50_fpn_coco.py', f' --cfg-options {EPSILON} {ABSENT}'),
        (3, 'configs/armbench/mask_rcnn_r50_fpn_torchvision_armbench.py', f' --cfg-options {EPSILON}'),
        (3, '{own}', ''),
    ],
)
def test_what_comes_next_has_what_the_config_lacks(rows, config, typed, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    own, base = tmp_path / 'own.py', str(ROOT / 'configs/armbench/mask_rcnn_r50_fpn_torchvision_armbench.py')
    own.write_text(f'_base_ = {base!r}\nmodel = dict(backbone=dict(norm_cfg=dict(eps=1e-5)))\n')
    config = config.format(own=own)
    torch.save(maskrcnn_resnet50_fpn(**TRAINED, num_classes=rows).state_dict(), tmp_path / 'theirs.pth')
    convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth', '--config', config)
    said = capsys.readouterr().out
    assert said.endswith(f'next: bash dist_test.sh {config} {tmp_path / "ours.pth"} 1 --eval bbox segm{typed}\n')
    assert ' '.join(said.split()).count('the config has') == (EPSILON in typed)


@pytest.mark.parametrize(
    ('config', 'text'),
    [
        ('armbench/mask_rcnn_r50_fpn_armbench.py', r'does not compute what torchvision does'),
        (
            'torchvision/mask_rcnn_r50_fpn_v2_coco.py',
            r'FPN (v1), {config} is for Mask R-CNN with ResNet-50 and FPN (v2)',
        ),
    ],
)
def test_a_config_of_another_model_is_refused(state, config, text, tmp_path, capsys):
    classes = ('--classes', 'Tote', 'Object')
    path = str(ROOT / 'configs' / config)
    if 'armbench' not in config:
        path, base = str(tmp_path / 'own.py'), path
        (tmp_path / 'own.py').write_text(OWN.format(base=base))
        classes = ('--classes', 'bolt', 'nut')
    torch.save(state, tmp_path / 'theirs.pth')
    with pytest.raises(SystemExit):
        convert(tmp_path / 'theirs.pth', tmp_path / 'ours.pth', '--config', path, *classes)
    assert text.format(config=path) in capsys.readouterr().err and not (tmp_path / 'ours.pth').exists()


def test_half_precision_is_written_as_single(state, tmp_path, capsys):
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / 'half.pth')
    convert(tmp_path / 'half.pth', tmp_path / 'own.pth')
    assert 'written as float32: what came as float16\n' in capsys.readouterr().out
    bias = read(tmp_path / 'own.pth')['state_dict']['rpn_head.rpn_cls.bias']
    assert torch.equal(bias, state['rpn.head.cls_logits.bias'].half().float())


@pytest.fixture(scope='module')
def ours(theirs):
    """The same with our names."""
    convert(theirs, theirs.with_name('ours.pth'))
    return read(theirs.with_name('ours.pth'))['state_dict']


@pytest.mark.parametrize(
    ('change', 'said'),
    [(('eps=0.0', 'eps=0.0'), 'overwrite_eps(model, 0.0)'), (('eps=0.0', 'eps=1e-05'), ': 1e-5\nlicence: torchvision')],
)
def test_the_epsilon_of_a_training_is_read_from_its_config(ours, change, said, tmp_path, capsys):
    text = Config.fromfile(ROOT / 'configs/armbench/mask_rcnn_r50_fpn_torchvision_armbench.py').pretty_text
    meta = {'cfg': text.replace(*change), 'dataset_meta': {'classes': ('Object', 'Tote')}}
    torch.save({'meta': meta, 'state_dict': ours}, tmp_path / 'epoch_1.pth')
    convert(tmp_path / 'epoch_1.pth', tmp_path / 'back.pth', '--to', 'torchvision')
    assert said in capsys.readouterr().out


BOMB = []
for _ in range(60):
    BOMB = [BOMB, BOMB]
ARMBENCH = ('--config', str(ROOT / 'configs/armbench/mask_rcnn_r50_fpn_torchvision_armbench.py'))


@pytest.mark.parametrize(
    ('meta', 'options', 'text'),
    [
        ({}, (), 'does not name its 2 classes: give its config by --config, or them by --classes'),
        ({'cfg': BOMB, 'converted': BOMB}, (), 'does not name its 2 classes'),
        *(({'dataset_meta': {'classes': it}}, (), 'no list of names that can be printed') for it in ('ab', [1, 2], 5)),
        ({'dataset_meta': 'x'}, (), 'no list of names that can be printed'),
        ({'dataset_meta': {'classes': ['a\x1b[2J', 'b']}}, (), 'no list of names that can be printed'),
        ({'dataset_meta': {'classes': ['Tote', 'Object']}}, ARMBENCH, 'has the classes Tote, Object, '),
        ({}, ('--config', str(ROOT / 'configs/armbench/mask_rcnn_r50_fpn_armbench.py')), 'no TorchvisionPreprocessor'),
        ({'converted': {'epsilon': 0.1}}, ('--classes', 'a', 'a'), 'a class is named twice'),
    ],
)
def test_what_can_not_be_taken_back_is_one_sentence(ours, meta, options, text, tmp_path, capsys):
    torch.save({'meta': meta, 'state_dict': ours}, tmp_path / 'epoch_1.pth')
    with pytest.raises(SystemExit):
        convert(tmp_path / 'epoch_1.pth', tmp_path / 'back.pth', '--to', 'torchvision', *options)
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert text in line and not (tmp_path / 'back.pth').exists()


def test_weights_of_a_config_that_computes_something_else_are_not_taken_back(tmp_path, capsys):
    torch.save({'meta': {'cfg': "type='DetDataPreprocessor'"}, 'state_dict': {}}, tmp_path / 'epoch_1.pth')
    with pytest.raises(SystemExit):
        convert(tmp_path / 'epoch_1.pth', tmp_path / 'out.pth', '--to', 'torchvision')
    assert 'epoch_1.pth was trained by a config that does not compute what torchvision does' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('target', 'options', 'text'),
    [
        ('{source}', (), r'is what is to be converted: give the result another name'),
        ('{folder}/old.pth', (), r'old.pth exists: give the result another name, or remove that'),
        ('{folder}/out.bin', (), r'out.bin must end in .pth or .safetensors'),
        ('{folder}/out.pth', ('--config', 'none.py'), r'none.py does not exist'),
        ('{folder}/out.pth', ('--classes', 'a'), r'for 2 classes beside background, and 1 are named: a'),
        ('{folder}/out.pth', ('--to', 'torchvision'), r'lacks roi_head.mask_head.conv_logits.weight'),
        ('{folder}/out.pth', ('--to', 'torchvision', '--from', 'torchvision'), r'--from and --to can not go together'),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(theirs, tmp_path, capsys, target, options, text):
    source = tmp_path / 'source.pth'
    source.symlink_to(theirs)
    (tmp_path / 'old.pth').touch()
    before = theirs.stat()
    with pytest.raises(SystemExit):
        convert(source, target.format(source=source, folder=tmp_path), *options)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if 'error: ' in line]
    assert text in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ['old.pth', 'source.pth']
    assert theirs.stat() == before
