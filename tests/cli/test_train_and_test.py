"""The commands on a tiny detector and data set, in this process: every flag does what it says."""

import json
import math
import pickle
import re
import shutil
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from damamba.checkpoint import CheckpointError
from damamba.cli import eval_results, prove_evaluation, publish_model
from damamba.cli import test as test_command
from damamba.cli import train as train_command
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError
from damamba.models import DAMamba
from tests.cli.helpers import logs, test, train
from tests.detection import SIZE, write_config

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU, which --amp uses')


@contextmanager
def monitored(kind: type[nn.Module], seen: list):
    """Note the type of the last output of every module of this class."""

    def note(module, inputs, output):
        if isinstance(module, kind):
            seen.append(output[-1].dtype)

    handle = register_module_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


def test_training_leaves_a_checkpoint_and_says_that_it_starts_from_scratch(trained):
    assert (trained / 'epoch_1.pth').is_file()
    text = logs(trained)
    assert text.count('Training from scratch') == 1 and 'pretrained is None' in text
    assert 'coco/bbox_mAP' in text and 'coco/segm_mAP' in text
    assert 'paramwise_options' not in text


def test_eval_reports_boxes_and_masks(trained, small_config, tmp_path):
    test(small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--eval', 'bbox', 'segm')
    text = logs(tmp_path)
    assert 'coco/bbox_mAP:' in text and 'coco/segm_mAP:' in text
    assert 'tensors match' in text and 'tensors match; ' not in text


@pytest.mark.parametrize(('asked', 'absent'), [('bbox', 'segm'), ('segm', 'bbox')])
def test_eval_takes_any_subset(trained, small_config, tmp_path, asked, absent):
    test(small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--eval', asked)
    text = logs(tmp_path)
    assert f'coco/{asked}_mAP:' in text and f'coco/{absent}_mAP:' not in text


def test_out_writes_predictions_and_the_figures_are_there_too(trained, small_config, tmp_path):
    test(small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--out', tmp_path / 'out.pkl')
    predictions = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    assert sorted(p['img_id'] for p in predictions) == [1, 2, 3]
    assert all({'bboxes', 'labels', 'scores', 'masks'} <= set(p['pred_instances']) for p in predictions)
    assert 'coco/segm_mAP:' in logs(tmp_path)


def test_out_goes_with_eval(trained, small_config, tmp_path):
    test(small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--out', tmp_path / 'o.pkl', '--eval', 'bbox')
    assert (tmp_path / 'o.pkl').is_file() and 'coco/bbox_mAP:' in logs(tmp_path)


def test_format_only_writes_coco_results_and_measures_nothing(trained, small_config, tmp_path):
    test(small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--format-only')
    results = json.loads((tmp_path / 'results.segm.json').read_text())
    assert {'image_id', 'category_id', 'score', 'segmentation'} <= set(results[0])
    assert 'mAP:' not in logs(tmp_path)


def test_eval_options_reach_the_evaluator_by_their_old_names_too(trained, small_config, tmp_path):
    options = ['classwise=True', f'jsonfile_prefix={tmp_path}/old']
    command = [small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--eval', 'bbox']
    test(*command, '--eval-options', *options)
    assert (tmp_path / 'old.bbox.json').is_file() and 'person_precision' in logs(tmp_path)


def test_an_unknown_eval_option_is_an_error_that_names_it(trained, small_config):
    with pytest.raises(ConfigError, match='does not know clazzwise; it takes .*classwise'):
        test(small_config, trained / 'epoch_1.pth', '--eval', 'bbox', '--eval-options', 'clazzwise=True')


def test_pictures_are_drawn(trained, small_config, tmp_path):
    test(small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--show-dir', 'drawn', '--show-score-thr', 0.0)
    assert len(list(tmp_path.rglob('drawn/*.jpg'))) == 3


def test_pictures_of_one_name_from_several_folders_are_all_drawn(trained, small_config, coco, tmp_path):
    content = json.loads((coco / 'annotations/instances_val2017.json').read_text())
    for image, folder in zip(content['images'], ('day', 'night', 'night/late'), strict=True):
        (tmp_path / 'pictures' / folder).mkdir(parents=True)
        shutil.copy(coco / 'val2017' / image['file_name'], tmp_path / 'pictures' / folder / '1.jpg')
        image['file_name'] = f'{folder}/1.jpg'
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    files = {'ann_file': tmp_path / 'annotations.json', 'data_prefix.img': tmp_path / 'pictures'}
    options = [f'test_dataloader.dataset.{key}={path}' for key, path in files.items()]
    flags = ['--work-dir', tmp_path / 'run', '--show-dir', 'drawn', '--show-score-thr', 0.0, '--cfg-options', *options]
    test(small_config, trained / 'epoch_1.pth', *flags)
    (drawn,) = (tmp_path / 'run').rglob('drawn')
    found = sorted(str(path.relative_to(drawn)) for path in drawn.rglob('*.jpg'))
    assert found == ['day/1.jpg', 'night/1.jpg', 'night/late/1.jpg']


def test_fusing_keeps_the_predictions(trained, small_config, tmp_path):
    for name, flags in (('plain', []), ('fused', ['--fuse-conv-bn'])):
        test(
            small_config,
            trained / 'epoch_1.pth',
            '--work-dir',
            tmp_path / name,
            '--out',
            f'{tmp_path}/{name}.pkl',
            *flags,
        )
    plain, fused = (pickle.loads((tmp_path / f'{name}.pkl').read_bytes()) for name in ('plain', 'fused'))
    for a, b in zip(plain, fused, strict=True):
        torch.testing.assert_close(a['pred_instances']['scores'], b['pred_instances']['scores'], atol=1e-4, rtol=1e-3)


def test_no_validate_leaves_the_evaluation_out(small_config, tmp_path):
    train(small_config, '--work-dir', tmp_path / 'run', '--no-validate')
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file() and 'Epoch(val)' not in logs(tmp_path / 'run')


def test_the_same_seed_gives_the_same_weights(small_config, tmp_path, coco):
    states = []
    for name in ('first', 'second'):
        flags = ['--seed', 7, '--deterministic', '--no-validate']
        train(small_config, '--work-dir', tmp_path / name, *flags)
        states.append(torch.load(tmp_path / name / 'epoch_1.pth', weights_only=False)['state_dict'])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    torch.use_deterministic_algorithms(False)


def test_resume_goes_on_and_reads_no_pretrained_file(trained, small_config, tmp_path):
    options = ['train_cfg.max_epochs=2', 'model.backbone.pretrained=/nowhere.pth']
    train(small_config, '--work-dir', tmp_path, '--resume', trained / 'epoch_1.pth', '--cfg-options', *options)
    assert (tmp_path / 'epoch_2.pth').is_file()
    text = logs(tmp_path)
    assert 'resumed epoch: 1' in text and 'Training from scratch' not in text


def test_resume_without_a_path_takes_the_newest_and_starts_anew_where_there_is_none(small_config, tmp_path):
    train(small_config, '--work-dir', tmp_path, '--resume', '--no-validate')
    train(small_config, '--work-dir', tmp_path, '--resume', '--no-validate', '--cfg-options', 'train_cfg.max_epochs=2')
    text = logs(tmp_path)
    assert 'Training from scratch' in text and 'resumed epoch: 1' in text and (tmp_path / 'epoch_2.pth').is_file()


def test_a_new_training_with_resume_but_no_checkpoint_reads_pretrained(small_config, tmp_path):
    command = [
        small_config,
        '--work-dir',
        tmp_path,
        '--resume',
        '--cfg-options',
        'model.backbone.pretrained=/nowhere.pth',
    ]
    with pytest.raises(CheckpointError, match='/nowhere.pth does not exist'):
        train(*command)


def test_testing_reads_no_pretrained_file(trained, small_config, tmp_path):
    command = [small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--eval', 'bbox']
    test(*command, '--cfg-options', 'model.backbone.pretrained=/nowhere.pth')
    assert 'coco/bbox_mAP:' in logs(tmp_path)


def test_pretrained_fills_the_backbone_once(trained, small_config, tmp_path):
    options = [f'model.backbone.pretrained={trained}/epoch_1.pth', 'optim_wrapper.optimizer.lr=0.0']
    train(small_config, '--work-dir', tmp_path, '--no-validate', '--cfg-options', *options)
    before, after = (torch.load(d / 'epoch_1.pth', weights_only=False)['state_dict'] for d in (trained, tmp_path))
    weights = [name for name in before if name.startswith('backbone.') and name.endswith('weight')]
    assert weights and all(torch.equal(before[name], after[name]) for name in weights)
    assert not torch.equal(before['roi_head.bbox_head.fc_cls.weight'], after['roi_head.bbox_head.fc_cls.weight'])
    text = logs(tmp_path)
    assert text.count('Filled ') == 1 and 'tensors of the backbone from' in text
    assert 'Training from scratch' not in text


def test_load_from_leaves_class_layers_of_another_size_out_and_names_them(trained, small_config, tmp_path):
    heads = [f'model.roi_head.{head}.num_classes=2' for head in ('bbox_head', 'mask_head')]
    classes = [f'{split}_dataloader.dataset.metainfo.classes=("person","car")' for split in ('train', 'val')]
    options = [f'load_from={trained}/epoch_1.pth', *heads, *classes]
    train(small_config, '--work-dir', tmp_path, '--no-validate', '--cfg-options', *options)
    text = logs(tmp_path)
    assert '6 mismatched: roi_head.bbox_head.fc_cls.weight (file 81x32, model 3x32)' in text
    assert '223 of 229 tensors match' in text
    layers = [f'roi_head.{layer}' for layer in ('bbox_head.fc_cls', 'bbox_head.fc_reg', 'mask_head.conv_logits')]
    assert f'Left out, and to be learned anew (other classes?): {", ".join(layers)}' in text


@no_gpu
def test_amp_is_bfloat16_on_the_cpu_and_says_so_and_a_float32_training_goes_on_from_it(small_config, tmp_path):
    seen = []
    with monitored(DAMamba, seen):
        train(small_config, '--work-dir', tmp_path, '--amp')
    assert seen.count(torch.bfloat16) == 4 and seen.count(torch.float32) == 3  # trained in one, validated in the other
    text = logs(tmp_path)
    assert text.count('Mixed precision in bfloat16 on the CPU.') == 1 and 'coco/segm_mAP' in text
    losses = [float(loss) for loss in re.findall(r' loss: ([\w.]+)', text)]
    assert len(losses) == 4 and all(map(math.isfinite, losses))
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}
    train(small_config, '--work-dir', tmp_path, '--resume', '--no-validate', '--cfg-options', 'train_cfg.max_epochs=2')
    assert (tmp_path / 'epoch_2.pth').is_file()


@no_gpu
def test_a_recipe_in_mixed_precision_trains_on_the_cpu(coco, tmp_path):
    config = write_config(tmp_path / 'amp.py', coco, extra="optim_wrapper = dict(type='AmpOptimWrapper')\n")
    train(config, '--work-dir', tmp_path / 'run', '--no-validate')
    assert 'Mixed precision in bfloat16 on the CPU.' in logs(tmp_path / 'run')


@no_gpu
def test_testing_is_in_mixed_precision_where_the_config_says_so(trained, small_config, tmp_path):
    seen = []
    with monitored(DAMamba, seen):
        command = [small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--eval', 'bbox', 'segm']
        test(*command, '--cfg-options', 'test_cfg.fp16=True')
    assert seen == [torch.bfloat16] * 3 and 'coco/segm_mAP:' in logs(tmp_path)


def test_hooks_of_a_config_join_ours_and_averaged_weights_are_resumed_and_tested(coco, tmp_path):
    config = write_config(tmp_path / 'ema.py', coco, extra="custom_hooks = [dict(type='EMAHook')]\n")
    run = ['--work-dir', tmp_path / 'run']
    train(config, *run)
    train(config, *run, '--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    text = logs(tmp_path / 'run')
    assert 'resumed epoch: 1' in text and 'EMAHook' in text and 'SyncStatisticsHook' in text
    first, second = (torch.load(tmp_path / f'run/epoch_{i}.pth', weights_only=False) for i in (1, 2))
    assert 'ema_state_dict' in first and second['ema_state_dict']['steps'] == 2 * first['ema_state_dict']['steps']
    test(config, tmp_path / 'run/epoch_2.pth', '--work-dir', tmp_path / 'test', '--eval', 'bbox')
    assert 'coco/bbox_mAP:' in logs(tmp_path / 'test')


def test_auto_scale_lr_scales_with_the_batch(small_config, tmp_path):
    train(small_config, '--work-dir', tmp_path, '--auto-scale-lr', '--no-validate')
    assert 'Scaling the original LR by 0.0625' in logs(tmp_path)


def test_a_detector_without_any_detection_has_an_map_of_zero(trained, small_config, tmp_path):
    command = [small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--eval', 'bbox', 'segm']
    test(*command, '--cfg-options', 'model.test_cfg.rcnn.score_thr=1.1')
    assert 'coco/bbox_mAP: 0.0000' in logs(tmp_path) and 'coco/segm_mAP: 0.0000' in logs(tmp_path)


def test_flags_of_mmdetection_2_work(trained, small_config, tmp_path):
    flags = ['--resume-from', trained / 'epoch_1.pth', '--options', 'train_cfg.max_epochs=2']
    args = train_command.parse([str(a) for a in (small_config, '--work-dir', tmp_path, *flags)])
    cfg = train_command.configure(args)
    assert (cfg.resume, cfg.load_from, cfg.train_cfg.max_epochs) == (True, str(trained / 'epoch_1.pth'), 2)
    args = test_command.parse([str(small_config), 'x.pth', '--tmpdir', 'there', '--eval', 'bbox'])
    assert test_command.configure(args).test_evaluator[0]['collect_dir'] == 'there/damamba-results'


def test_amp_keeps_what_the_config_says_of_it(small_config):
    options = ['optim_wrapper.type=AmpOptimWrapper', 'optim_wrapper.loss_scale=512.']
    cfg = train_command.configure(train_command.parse([str(small_config), '--amp', '--cfg-options', *options]))
    assert cfg.optim_wrapper.loss_scale == 512.0
    options = ['optim_wrapper.type=ApexOptimWrapper']
    with pytest.raises(ConfigError, match="--amp does not go with optim_wrapper.type='ApexOptimWrapper'"):
        train_command.configure(train_command.parse([str(small_config), '--amp', '--cfg-options', *options]))


def test_format_only_writes_where_the_config_says(small_config, tmp_path):
    options = ['--format-only', '--cfg-options', f'test_evaluator.outfile_prefix={tmp_path}/mine']
    cfg = test_command.configure(test_command.parse([str(small_config), 'x.pth', *options]))
    assert cfg.test_evaluator[0]['outfile_prefix'] == f'{tmp_path}/mine'


def test_options_reach_coco_evaluators_alone(small_config, tmp_path):
    args = test_command.parse([str(small_config), 'x.pth', '--eval', 'bbox', '--out', f'{tmp_path}/out.pkl'])
    coco, dump = test_command.configure(args).test_evaluator
    assert coco['metric'] == ['bbox'] and 'metric' not in dump


def test_resume_keeps_load_from_where_there_is_nothing_to_resume(small_config, tmp_path):
    options = ['--work-dir', str(tmp_path), '--resume', '--cfg-options', 'load_from=start.pth']
    with pytest.raises(CheckpointError, match=r'start.pth does not exist'):
        train_command.train([str(small_config), *options])


def test_published_weights_test_the_same_and_cannot_be_resumed(trained, small_config, tmp_path, capsys):
    for ending in ('.pth', '.safetensors'):
        publish_model.main([str(trained / 'epoch_1.pth'), str(tmp_path / f'small{ending}')])
        path = capsys.readouterr().out.splitlines()[-1]
        test(small_config, path, '--work-dir', tmp_path, '--out', f'{tmp_path}/{ending}.pkl')
    test(small_config, trained / 'epoch_1.pth', '--work-dir', tmp_path, '--out', f'{tmp_path}/own.pkl')
    scores = []
    for name in ('.pth', '.safetensors', 'own'):
        predictions = pickle.loads((tmp_path / f'{name}.pkl').read_bytes())
        scores.append(torch.cat([p['pred_instances']['scores'] for p in predictions]))
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[0], scores[2])
    with pytest.raises(CheckpointError, match='is no training checkpoint of MMEngine .*load_from=PATH, not --resume'):
        train(small_config, '--work-dir', tmp_path, '--resume', path)


def test_the_tiny_data_set_is_what_the_tests_think(coco):
    data = json.loads((coco / 'annotations/instances_train2017.json').read_text())
    assert len(data['images']) == 4 and data['images'][0]['height'] == SIZE[0]


def test_mmdetections_inference_takes_our_config_and_published_weights(trained, small_config, tmp_path, coco, capsys):
    from mmdet.apis import inference_detector, init_detector

    publish_model.main([str(trained / 'epoch_1.pth'), str(tmp_path / 'small.pth')])
    path = capsys.readouterr().out.splitlines()[-1]
    options = {'model.backbone.pretrained': '/nowhere.pth'}
    model = init_detector(str(small_config), path, device='cpu', cfg_options=options)
    assert model.dataset_meta['classes'][0] == 'person'
    result = inference_detector(model, str(coco / 'val2017/000000000001.jpg'))
    assert len(result.pred_instances) == 5 and result.pred_instances.masks.shape[1:] == SIZE


IMPORTS = """
from mmdet.models.detectors import MaskRCNN
from mmengine.optim import OptimWrapper

from damamba.evaluation.metric import CocoInstanceMetric
from damamba.models import DAMamba
"""
CLASSES = ('MaskRCNN', 'OptimWrapper', 'CocoInstanceMetric', 'DAMamba')


@pytest.fixture
def new_style(small_config, tmp_path):
    """The small config as MMEngine dumps it, some of its types as classes."""
    text = read_config(str(small_config)).pretty_text
    for name in CLASSES:
        assert f"type='{name}'" in text
        text = text.replace(f"type='{name}'", f'type={name}')
    (tmp_path / 'new_style.py').write_text(IMPORTS + text)
    return tmp_path / 'new_style.py'


def test_a_config_whose_types_are_classes_is_trained_tested_proved_and_scored(new_style, tmp_path, capsys):
    train(new_style, '--work-dir', tmp_path / 'run', '--amp')
    assert 'Mixed precision in' in logs(tmp_path / 'run')
    flags = ['--eval', 'bbox', 'segm', '--prove', '--show-dir', 'drawn', '--out', tmp_path / 'out.pkl']
    test(new_style, tmp_path / 'run/epoch_1.pth', '--work-dir', tmp_path / 'test', *flags)
    measured = json.loads((tmp_path / 'test/metrics.json').read_text())
    assert measured['proof']['passed'] and 'Shared2FCBBoxHead' in measured['proof']['head']
    prove_evaluation.main([str(new_style), '--images', '2'])
    eval_results.main([str(tmp_path / 'out.pkl'), '--config', str(new_style), '--json', str(tmp_path / 'scores.json')])
    scored = json.loads((tmp_path / 'scores.json').read_text())['scores']['segm']['values']['mAP']
    assert scored == measured['metrics']['coco/segm_mAP']


TWICE = """
_base_ = {base!r}
flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=0.0)]
pack = dict(type='PackDetInputs', meta_keys=(*_base_['keys'], 'flip', 'flip_direction'))
tta_pipeline = [*_base_.pipeline[:-1], dict(type='TestTimeAug', transforms=[flips, [pack]])]
"""


def test_two_views_of_the_same_are_what_one_is(trained, small_config, tmp_path):
    (tmp_path / 'twice.py').write_text(TWICE.format(base=str(small_config)))
    found = {}
    for name, config, flags in (('one', small_config, []), ('two', tmp_path / 'twice.py', ['--tta'])):
        out = tmp_path / f'{name}.pkl'
        test(config, trained / 'epoch_1.pth', '--work-dir', tmp_path / name, '--out', out, '--eval', 'segm', *flags)
        found[name] = [sample['pred_instances'] for sample in pickle.loads(out.read_bytes())]
    for one, two in zip(found['one'], found['two'], strict=True):
        assert len(one['bboxes']) and torch.equal(one['bboxes'], two['bboxes']) and one['masks'] == two['masks']
        assert torch.equal(one['scores'], two['scores']) and torch.equal(one['labels'], two['labels'])


def test_augmentation_flips_each_picture(trained, small_config, tmp_path):
    flags = ['--work-dir', tmp_path, '--eval', 'bbox', 'segm', '--tta', '--out', tmp_path / 'out.pkl']
    test(small_config, trained / 'epoch_1.pth', *flags)
    assert 'coco/segm_mAP:' in logs(tmp_path)
    for sample in pickle.loads((tmp_path / 'out.pkl').read_bytes()):
        found = sample['pred_instances']
        assert len(found['masks']) == len(found['bboxes']) > 5  # max_per_img of one view
        assert all(tuple(mask['size']) == sample['ori_shape'][:2] for mask in found['masks'])
