"""The whole explanation: of a detector and of a backbone, the same each time, in whole files."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from damamba.inference.detector import inference_detector, init_detector
from damamba.inference.explain import ExplainError, explain, films
from damamba.models import DAMamba


@pytest.fixture
def picture(coco):
    return str(sorted((coco / 'val2017').iterdir())[0])


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)


def test_a_detector_is_explained_from_its_best_detection(detector, picture):
    best = inference_detector(detector, picture).pred_instances[0].bboxes[0]
    explanation = explain(detector, picture)
    np.testing.assert_allclose(explanation.position, [(best[0] + best[2]) / 2, (best[1] + best[3]) / 2], rtol=1e-4)
    assert 'found with a score of' in explanation.reason
    arrays = explanation.arrays()
    shapes = {name: value.shape for name, value in arrays.items() if name.startswith('stage2_')}
    assert shapes == {
        'stage2_cell': (2,),
        'stage2_offsets': (12, 16, 2, 2),
        'stage2_sources': (12, 16, 2, 2),
        'stage2_receptive_field': (96, 128),
        'stage2_decay': (12, 16, 32),
        'stage2_pace': (12, 16),
        'stage2_memory': (12, 16),
        'stage2_weights': (explanation.stages[1].step + 1, 32),
    }
    for it in explanation.stages:
        assert it.receptive_field.sum() == pytest.approx(1, rel=1e-4)
        assert 0 < it.areas[0] < it.areas[1] <= 1
    assert (arrays['picture'] == np.array(Image.open(picture))).mean() > 0.9  # red first; decoders differ by a step


def test_it_is_the_same_each_time_fused_or_not_and_leaves_no_trace(detector_files, picture):
    plain, fused = (init_detector(*detector_files, 'cpu', fuse=fuse) for fuse in (False, True))
    plain.backbone.train()
    before = [{**vars(module)} for module in plain.modules()]
    first, second, other = (explain(model, picture, (60, 40)) for model in (plain, plain, fused))
    assert [vars(module) for module in plain.modules()] == before
    assert not any(module._forward_hooks for module in plain.modules())
    assert all(parameter.grad is None for parameter in plain.parameters())
    for name, value in first.arrays().items():
        assert np.array_equal(value, second.arrays()[name]), name
        scale = max(np.abs(value).max(), 1e-9)
        assert np.abs(value - other.arrays()[name]).max() <= 1e-2 * scale, name
    assert np.array_equal(first.draw(), second.draw())


def test_a_backbone_alone_is_seen_from_the_pictures_centre(pixels):
    backbone = DAMamba(
        dict(depths=(1, 2), dims=(16, 32), ffn_ratios=(2, 2), layer_scale=(False, False)), out_indices=(1,)
    )
    explanation = explain(backbone, pixels)
    assert explanation.position == (44.5, 34.5) and explanation.reason == "the picture's centre"
    assert explanation.stage == 2 and [it.block for it in explanation.stages] == [1, 2]
    assert explanation.stages[0].sources.shape == (18, 23, 1, 2)


@pytest.mark.parametrize('shape', [(1, 1), (5, 300), (400, 20)])
def test_odd_pictures_are_drawn_too(backbone, shape, tmp_path):
    explanation = explain(backbone, np.full((*shape, 3), 90, np.uint8))
    explanation.draw(tmp_path / 'a.png')
    explanation.animate(tmp_path / 'a.gif', frames=3)
    assert Image.open(tmp_path / 'a.png').size[0] > 1000


def test_files_are_what_was_drawn(backbone, pixels, tmp_path):
    explanation = explain(backbone, pixels)
    drawn = explanation.draw(tmp_path / 'new folder' / 'a.png')
    assert np.array_equal(np.array(Image.open(tmp_path / 'new folder' / 'a.png')), drawn)
    explanation.save(tmp_path / 'a.npz')
    with np.load(tmp_path / 'a.npz') as arrays:
        assert arrays.keys() == explanation.arrays().keys()
        assert all(np.array_equal(arrays[name], value) for name, value in explanation.arrays().items())
    first, second = (explanation.animate(tmp_path / name, 5).read_bytes() for name in ('a.gif', 'b.gif'))
    assert first == second and Image.open(tmp_path / 'a.gif').n_frames == 5
    film = films.cv2.VideoCapture(str(explanation.animate(tmp_path / 'a.mp4', 5)))
    frames = sum(film.read()[0] for _ in range(100))
    assert frames == 5 + round(films.RATE * films.PAUSE)


def test_a_file_is_whole_or_not_there(backbone, pixels, tmp_path, monkeypatch):
    def breaks(image, path, **_):
        path.write_bytes(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(Image.Image, 'save', breaks)
    explanation = explain(backbone, pixels)
    for write in (lambda: explanation.draw(tmp_path / 'a.png'), lambda: explanation.animate(tmp_path / 'a.gif', 2)):
        with pytest.raises(OSError, match='disk full'):
            write()
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_explained_is_one_sentence(backbone, pixels, tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    (tmp_path / 'empty.png').touch()
    mistakes = [
        (lambda: explain(nn.Conv2d(3, 3, 1), pixels), 'the backbone is a Conv2d, not a DAMamba'),
        (lambda: explain(backbone, tmp_path / 'broken.jpg'), 'broken.jpg can not be read as a picture'),
        (lambda: explain(backbone, tmp_path / 'empty.png'), 'empty.png can not be read as a picture'),
        (lambda: explain(backbone, tmp_path / 'none.png'), 'none.png can not be read as a picture: No such file'),
        (lambda: explain(backbone, pixels[..., 0]), r'a picture is \[H, W, 3\] of uint8'),
        (lambda: explain(backbone, pixels, (90, 3)), 'the picture is 90 x 70 pixels: it has no position'),
        (lambda: explain(backbone, pixels, stage=5), 'stage must be from 1 to 4, got 5'),
        (lambda: explain(backbone, pixels, block=1), 'block must be from -1 to 0'),
        (lambda: explain(backbone, pixels).animate(tmp_path / 'a.avi'), 'is .gif or .mp4, not a.avi'),
    ]
    for mistake, text in mistakes:
        with pytest.raises(ExplainError, match=text) as error:
            mistake()
        assert '\n' not in str(error.value)
    assert torch.is_grad_enabled()
