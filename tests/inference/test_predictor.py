"""A predictor finds what the test command finds, in whatever it is given; names; what can't be."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset

from damamba.checkpoint import CheckpointError
from damamba.cli import predict as predict_command
from damamba.cli import test as test_command
from damamba.engine.config_checks import ConfigError
from damamba.inference import PictureError, Predictor
from damamba.inference.published import published, resolve
from tests.detection import write_config
from tests.inference.conftest import write_checkpoint


@pytest.fixture
def predictor(small_config, checkpoint):
    return Predictor(small_config, checkpoint, 'cpu')


def pictures(coco):
    return [str(path) for path in sorted((coco / 'val2017').iterdir())]


def same(found, truth):
    return len(found) == len(truth) > 0 and (found.boxes == truth.boxes).all() and (found.masks == truth.masks).all()


@pytest.fixture(params=['drawn', 'real'])
def tested_config(request, tmp_path, coco):
    """A config on the drawn set, and on pictures of COCO, whose category ids have gaps; how much is found there."""
    if request.param == 'drawn':
        return write_config(tmp_path / 'small.py', coco), coco, 15
    root = request.getfixturevalue('shared') / 'data/coco_tiny'
    return write_config(tmp_path / 'small.py', root), root, 5 * len(list((root / 'val2017').iterdir()))


@pytest.mark.parametrize('fused', [True, False])
def test_what_is_written_is_what_the_test_command_writes(tested_config, tmp_path, fused):
    small_config, root, count = tested_config
    checkpoint = write_checkpoint(small_config, tmp_path, CocoDataset.METAINFO['classes'])
    flags = ['--fuse-conv-bn'] if fused else []
    prefix = f'outfile_prefix={tmp_path}/tested'
    command = [small_config, checkpoint, '--work-dir', tmp_path / 'work', '--format-only', '--eval-options', prefix]
    test_command.test([*map(str, command), *flags])
    model = ['--config', str(small_config), '--checkpoint', str(checkpoint), '--device', 'cpu']
    predict_command.predict(
        [str(root / 'val2017'), *model, '--out', str(tmp_path / 'out'), *([] if fused else ['--no-fuse'])]
    )
    for kind in ('bbox', 'segm'):
        found, truth = (
            json.loads((tmp_path / name).read_text())
            for name in (f'out/predictions.{kind}.json', f'tested.{kind}.json')
        )
        key = json.dumps
        assert sorted(map(key, found)) == sorted(map(key, truth)) and len(found) == count


def test_everything_that_can_be_given_gives_the_same(predictor, coco):
    paths = pictures(coco)
    truths = list(predictor(paths))
    assert [it.name for it in truths] == [path.rpartition('/')[2] for path in paths] and truths[0].size == (96, 128)
    arrays = [cv2.imread(path) for path in paths]
    for given in (coco / 'val2017', f'{coco}/val2017/*.jpg', arrays, (it for it in arrays)):
        assert all(same(found, truth) for found, truth in zip(predictor(given), truths, strict=True))
    predictor.order = 'rgb'
    assert same(next(predictor(arrays[0][..., ::-1])), truths[0])
    assert {*truths[0].milliseconds} == {'read', 'prepare', 'detect', 'encode'}


def test_a_batch_finds_what_single_pictures_find(predictor, small_config, checkpoint, coco):
    batched, several = Predictor(small_config, checkpoint, 'cpu', batch_size=4), 2 * pictures(coco)
    batched.warm_up((96, 128))
    for found, truth in zip(batched(several), predictor(several), strict=True):
        assert np.abs(found.scores - truth.scores).max() < 1e-4 and np.abs(found.boxes - truth.boxes).max() < 0.05
        assert (found.masks == truth.masks).mean() > 0.999


def test_what_was_read_before_a_camera_fails_is_found(small_config, checkpoint, coco):
    def camera():
        yield cv2.imread(pictures(coco)[0])
        yield np.zeros((1, 3, 3), np.uint8)
        raise OSError('unplugged')

    found = Predictor(small_config, checkpoint, 'cpu', batch_size=3)(camera())
    assert [next(found).size for _ in range(2)] == [(96, 128), (1, 3)]
    with pytest.raises(OSError, match='unplugged'):
        next(found)


def test_scores_classes_and_numbers_choose(predictor, small_config, checkpoint, coco):
    (picture, *_), build = pictures(coco), lambda **options: Predictor(small_config, checkpoint, 'cpu', **options)
    truth = next(predictor(picture))
    middle, name = float(truth.scores[2]), truth.names[0]
    assert len(next(build(score_thr=middle)(picture))) == (truth.scores >= middle).sum()
    assert next(build(top_k=2)(picture)).scores.tolist() == truth.scores[:2].tolist()
    assert {*next(build(classes=[name])(picture)).names} == {name}
    for options, told in (
        (dict(classes=['thing 1', 'thong 7']), "no class 'thong 7': did you mean thing"),
        (dict(top_k=0), 'top_k must be 1 or more, got 0'),
        (dict(batch_size=-1), 'batch_size must be 1 or more'),
    ):
        with pytest.raises(ConfigError, match=told):
            build(**options)
    with pytest.raises(ConfigError, match="device 'cuda:77' can not be used here"):
        Predictor(small_config, checkpoint, 'cuda:77')


def test_a_large_picture_is_made_smaller_and_found_in_its_own_pixels(small_config, checkpoint, coco):
    picture = cv2.resize(cv2.imread(pictures(coco)[0]), (512, 384), interpolation=cv2.INTER_NEAREST)
    small = Predictor(small_config, checkpoint, 'cpu')
    truth = next(small(cv2.resize(picture, (128, 96), interpolation=cv2.INTER_AREA)))
    small.max_side = 128
    found = next(small(picture))
    assert found.size == (384, 512) and found.masks.shape[1:] == (384, 512)
    assert (
        np.abs(found.boxes - 4 * truth.boxes).max() < 0.01 and (found.masks[:, ::4, ::4] == truth.masks).mean() > 0.99
    )


def test_a_broken_picture_is_passed_over_or_raised(predictor, coco, tmp_path):
    good, broken = tmp_path / 'a.jpg', tmp_path / 'b.jpg'
    good.write_bytes((coco / 'val2017/000000000001.jpg').read_bytes())
    broken.write_text('text')
    assert len(list(predictor(tmp_path))) == 1 and [*predictor.unreadable] == [str(broken)]
    with pytest.raises(PictureError, match=r'b.jpg can not be read'):
        next(predictor(str(broken)))
    with pytest.raises(PictureError, match=r'c.jpg does not exist'):
        predictor(str(tmp_path / 'c.jpg'))


def test_names_stand_for_configs_and_files_that_are_fetched(tmp_path, monkeypatch, small_config):
    monkeypatch.chdir(tmp_path)
    asked = []

    def download(repository, file, revision):
        asked.append((repository, file, revision))
        raise OSError('no route to host\nand more')

    monkeypatch.setattr('huggingface_hub.hf_hub_download', download)
    with pytest.raises(
        CheckpointError, match=r'-3x can not be fetched \(no route to host\): put https://hugg.* into check'
    ):
        resolve('damamba-base-mask-rcnn-3x', revision='abc')
    assert asked == [('ltzovo/DAMamba', 'mask_rcnn_DAMamba_base_fpn_3x.pth', 'abc')]
    (tmp_path / 'checkpoints').mkdir()
    for name, model in published().items():
        (tmp_path / 'checkpoints' / model['file']).write_bytes(b'weights')
        config, path = resolve(name)
        assert torch.os.path.isfile(config) and path == f'checkpoints/{model["file"]}'
    monkeypatch.setattr('damamba.inference.published.published', lambda: {'x': {**model, 'sha256': '0' * 64}})
    with pytest.raises(CheckpointError, match='is not the published'):
        resolve('x')
    with pytest.raises(ConfigError, match='y is no config file and no published model'):
        resolve('y')
    with pytest.raises(CheckpointError, match='which weights for'):
        resolve(small_config)


def test_without_a_name_the_demo_s_best_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match='has no checkpoint of the demo: run `damamba demo`'):
        resolve()
    (tmp_path / 'work_dirs/demo').mkdir(parents=True)
    for name in ('best_coco_segm_mAP_epoch_5.pth', 'epoch_6.pth'):
        (tmp_path / 'work_dirs/demo' / name).write_bytes(b'')
    assert resolve()[1] == 'work_dirs/demo/best_coco_segm_mAP_epoch_5.pth'
