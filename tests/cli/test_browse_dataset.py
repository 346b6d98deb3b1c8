"""What a config feeds its model, drawn: the picture after the pipeline, and objects where they are in it."""

import cv2
import numpy as np
import pytest

from damamba.cli import browse_dataset
from damamba.datasets.demo import write_shapes
from damamba.engine.samples import draw_samples
from tests.detection import ROOT

SHAPES = ROOT / 'configs' / 'demo' / 'mask_rcnn_DAMamba_nano_fpn_shapes.py'
CONFIG = """
_base_ = {base!r}
data_root = {data_root!r}
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
{more}
"""
FLIPPED = """
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask={masks}),
    dict(type='Resize', scale=(160, 80), keep_ratio=False),
    dict(type='RandomFlip', prob=1.0, direction='horizontal'),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=pipeline))
"""
QUERIES = """
_base_ = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
classes = ('ball', 'crate', 'fish', 'gear', 'ring', 'star')
train_dataloader = dict(dataset=dict(data_root={data_root!r}, metainfo=dict(classes=classes)))
"""


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_shapes(folder, images=5, val_images=2, size=96)
    return folder


@pytest.fixture
def config(tmp_path, shapes):
    def write(more='', base=SHAPES, name='mine.py'):
        path = tmp_path / name
        path.write_text(CONFIG.format(base=str(base), data_root=f'{shapes}/', more=more))
        return path

    return write


def browse(config, *argv):
    return browse_dataset.draw(browse_dataset.parse([str(config), *map(str, argv)]))


def samples(path, split='train', count=9, seed=0):
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    cfg = Config.fromfile(path)
    return list(draw_samples(cfg, split, count, seed))


def around(mask) -> list[float]:
    left, top, width, height = cv2.boundingRect(mask)
    return [left, top, left + width, top + height]


def test_each_picture_is_drawn_and_all_on_one_sheet(config, tmp_path, capsys):
    out = tmp_path / 'out'
    browse_dataset.show([str(config()), '--count', '3', '--out', str(out)])
    shown = capsys.readouterr().out
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 4 and names[-1] == 'contact_sheet.png' and all(name in shown for name in names)
    assert max(cv2.imread(str(out / names[0])).shape) == 640
    assert cv2.imread(str(out / names[-1])).shape[1] > 900
    assert shown.count('96 x 96   192 x 192') == 3


def test_by_default_pictures_go_beside_the_runs_of_the_config(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (sample, path), *_ = browse(config(), '--count', 1, '--split', 'val')
    assert path.parent == browse_dataset.Path('work_dirs/mine/browse') and path.exists() and sample.objects


@pytest.mark.parametrize('masks', [True, False])
def test_the_picture_is_the_fed_one_and_its_objects_lie_in_it(config, masks):
    for sample in samples(config(FLIPPED.format(masks=masks))):
        assert sample.picture.shape == (80, 160, 3) and sample.original == (96, 96)
        wanted = cv2.resize(cv2.imread(sample.path), (160, 80))[:, ::-1]
        assert np.abs(sample.picture.astype(int) - wanted).mean() < 1  # blue first, flipped
        assert (sample.masks is not None) == masks and len(sample.labels) == len(sample.boxes) == len(sample.names)
        for box, mask in zip(sample.boxes, sample.masks or (), strict=masks):
            assert np.abs(np.array(around(mask)) - box).max() <= 3


@pytest.mark.parametrize('split', ['val', 'test'])
def test_objects_of_a_test_pipeline_follow_its_picture(config, split):
    """MMDetection loads them after the picture was resized, in the pixels of the file."""
    for sample in samples(config(), split):
        assert sample.picture.shape == (192, 192, 3) and sample.original == (96, 96) and sample.objects
        for box, mask in zip(sample.boxes, sample.masks, strict=True):
            assert mask.shape == (192, 192) and np.abs(np.array(around(mask)) - box).max() <= 3


def test_colours_are_right_where_the_model_is_fed_red_first(config):
    more = 'model = dict(data_preprocessor=dict(bgr_to_rgb=False, rgb_to_bgr=True))\n' + FLIPPED.format(masks=True)
    plain, swapped = samples(config(FLIPPED.format(masks=True)), count=1), samples(config(more, name='b.py'), count=1)
    assert (plain[0].picture[..., ::-1] == swapped[0].picture).all()


def test_the_seed_says_which_pictures_and_how_they_are_augmented(config):
    path = config()

    def fed(**options):
        return [(it.path, it.picture.tobytes()) for it in samples(path, **options)]

    assert fed(count=3) == fed(count=3) != fed(count=3, seed=5)
    assert set(fed(count=2)) < set(fed(count=4))  # and each looks the same
    assert len(fed(count=99)) == 5


def test_crowds_come_last_and_are_not_counted_as_objects(config, tmp_path):
    write_shapes(tmp_path / 'more', images=40, val_images=1, size=96)
    root = f"train_dataloader = dict(dataset=dict(data_root='{tmp_path / 'more'}/'))\n"
    with_crowds = [it for it in samples(config(root), count=40) if it.ignored]
    assert with_crowds and all(len(it.labels) == it.objects + it.ignored for it in with_crowds)


def test_the_pipeline_of_mask2former_is_drawn_too(tmp_path, shapes):
    path = tmp_path / 'queries.py'
    path.write_text(QUERIES.format(data_root=f'{shapes}/'))
    drawn = browse(path, '--count', 2, '--out', tmp_path / 'out')
    assert len(drawn) == 2 and all(it.masks[0].shape == it.picture.shape[:2] for it, _ in drawn)


def test_cfg_options_override_the_config(config, tmp_path):
    options = ['--cfg-options', 'train_dataloader.dataset.ann_file=annotations/instances_val2017.json']
    options += ['train_dataloader.dataset.data_prefix.img=val2017/']
    drawn = browse(config(), '--out', tmp_path / 'out', *options)
    assert len(drawn) == 2 and all('val2017' in sample.path for sample, _ in drawn)


@pytest.mark.parametrize(
    ('argv', 'text'),
    [
        (['nothing.py'], 'nothing.py does not exist'),
        (['CONFIG', '--cfg-options', 'data_root=nowhere/'], 'nowhere/annotations/instances_train2017.json'),
        (
            ['CONFIG', '--cfg-options', 'train_dataloader.dataset.metainfo.classes=("no","nothing")'],
            'none of the classes (no, nothing) is among the categories',
        ),
        (['CONFIG', '--cfg-options', 'train_dataloader=None'], 'has no train_dataloader'),
    ],
)
def test_what_can_be_mended_is_one_sentence(config, capsys, argv, text):
    path = config()
    with pytest.raises(SystemExit) as stopped:
        browse_dataset.main([str(path) if word == 'CONFIG' else word for word in argv])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 1 and error.startswith('error: ') and text in error


def test_a_broken_picture_is_one_sentence_that_says_what_names_them_all(config, tmp_path, capsys):
    write_shapes(tmp_path / 'broken', images=1, val_images=1, size=64)
    (picture,) = (tmp_path / 'broken' / 'train2017').iterdir()
    picture.write_bytes(picture.read_bytes()[:-500])
    with pytest.raises(SystemExit):
        browse_dataset.main([str(config()), '--cfg-options', f'data_root={tmp_path / "broken"}/'])
    assert 'error: picture 0 can not be fed' in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('argv', [['--count', '0'], ['--seed', '-1'], ['--split', 'all']])
def test_arguments_that_make_no_sense_are_the_parsers_error(argv):
    with pytest.raises(SystemExit) as stopped:
        browse_dataset.parse(['config.py', *argv])
    assert stopped.value.code == 2
