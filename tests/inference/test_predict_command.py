"""The command: a folder of odd files, a video in constant memory, a run that is killed."""

import json
import signal
import subprocess
import sys
import time
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from damamba.cli import predict as command
from damamba.inference import Predictor
from tests.detection import ROOT


@pytest.fixture
def model(small_config, checkpoint):
    return ['--config', str(small_config), '--checkpoint', str(checkpoint), '--device', 'cpu']


def predict(*argv) -> int:
    """The exit status."""
    try:
        command.main([str(it) for it in argv])
        return 0
    except SystemExit as end:
        return end.code


def write_odd_files(folder) -> dict[str, bool]:
    """Twelve files; by their names, whether they can be read."""
    rng = np.random.default_rng(0)
    bgr = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (128, 96))
    rgb = Image.fromarray(bgr[..., ::-1])
    (folder / 'sub').mkdir()
    whole = cv2.imencode('.jpg', bgr)[1].tobytes()
    (folder / 'cut off.jpg').write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(folder / 'deep.png'), bgr.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / 'dark 12 bit.png'), bgr.astype(np.uint16) * 16)
    rgb.convert('CMYK').save(folder / 'cmyk.jpg')
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / 'turned.jpg', exif=exif)
    rgb.save(folder / 'animated.gif', save_all=True, append_images=[rgb.rotate(90), rgb.rotate(180)])
    (folder / 'text.jpg').write_text('no picture')
    cv2.imwrite(str(folder / 'one.png'), bgr[:1, :1])
    cv2.imwrite(str(folder / 'wide.png'), cv2.resize(bgr, (8000, 200)))
    for name in ('sub/größer  als.png', 'same.png', 'sub/same.png'):
        (folder / name).write_bytes(cv2.imencode('.png', bgr)[1].tobytes())
    broken = {'cut off.jpg', 'dark 12 bit.png', 'text.jpg'}
    return {str(path.relative_to(folder)): path.name not in broken for path in folder.rglob('*.*')}


def test_a_folder_of_odd_files_gives_a_result_or_a_report_for_each(model, tmp_path, capsys):
    (tmp_path / 'in').mkdir()
    files = write_odd_files(tmp_path / 'in')
    assert len(files) == 12
    kinds = ['--save', 'overlays', 'coco', 'masks', 'yolo', 'label-studio']
    assert predict(tmp_path / 'in', *model, '--out', tmp_path / 'out', *kinds, '--score-thr', 0) == 1
    said = capsys.readouterr().out
    images = json.loads((tmp_path / 'out/predictions.images.json').read_text())['images']
    sizes = {it['file_name']: (it['width'], it['height']) for it in images}
    assert {*sizes} == {name for name, is_good in files.items() if is_good}
    assert all(name in said for name, is_good in files.items() if not is_good) and 'could not be read: 3' in said
    assert sizes['turned.jpg'] == (96, 128) and sizes['wide.png'] == (8000, 200) and sizes['one.png'] == (1, 1)
    for folder, count in (('overlays', 9), ('yolo', 9 + 1)):
        assert len([it for it in (tmp_path / 'out' / folder).rglob('*') if it.is_file()]) == count
    assert len(json.loads((tmp_path / 'out/label-studio.json').read_text())) == 9
    found = json.loads((tmp_path / 'out/predictions.segm.json').read_text())
    assert {it['image_id'] for it in found} <= {it['id'] for it in images} and len({it['id'] for it in images}) == 9
    assert len(list((tmp_path / 'out/masks').rglob('*.png'))) == sum(1 for it in found)


def test_a_second_run_leaves_nothing_of_the_first(model, coco, tmp_path):
    assert predict(coco / 'val2017', *model, '--out', tmp_path) == 0
    assert predict(coco / 'val2017/000000000002.jpg', *model, '--out', tmp_path, '--save', 'coco') == 0
    found = json.loads((tmp_path / 'predictions.segm.json').read_text())
    assert {it['image_id'] for it in found} == {2}


def write_video(path, frames, codec='mp4v'):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 20, (128, 96))
    rng = np.random.default_rng(1)
    for _ in range(frames):
        video.write(cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (128, 96)))
    video.release()


def test_a_video_streams_in_constant_memory_and_becomes_a_video(model, small_config, checkpoint, tmp_path):
    write_video(tmp_path / 'clip.mp4', 60)
    predictor = Predictor(small_config, checkpoint, 'cpu')
    tracemalloc.start()
    held = []
    for number, _ in enumerate(predictor(tmp_path / 'clip.mp4')):
        if number in (10, 59):
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert number == 59 and held[1] - held[0] < 5 * 96 * 128 * 3  # bytes: less than a few frames
    assert predict(tmp_path / 'clip.mp4', *model, '--out', tmp_path / 'out', '--max-side', 64) == 0
    video = cv2.VideoCapture(str(tmp_path / 'out/overlays/clip.mp4'))
    assert video.get(cv2.CAP_PROP_FPS) == 20 and sum(video.read()[0] for _ in range(61)) == 60
    assert not list((tmp_path / 'out').rglob('.*'))


def test_a_killed_run_leaves_whole_files_alone(model, tmp_path):
    write_video(tmp_path / 'clip.mp4', 400)
    for number in range(40):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((96, 128, 3), number, np.uint8))
    out, sources = tmp_path / 'out', [str(tmp_path / '*.png'), str(tmp_path / 'clip.mp4')]
    argv = [sys.executable, '-m', 'damamba', 'predict', *sources, *model, '--out', str(out)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while not list(out.glob('overlays/.*.part.mp4')):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    pictures = [path for path in out.rglob('*') if path.is_file() and not path.name.startswith('.')]
    assert len(pictures) == 40 and all(cv2.imread(str(path)) is not None for path in pictures)


def test_the_published_and_the_demo_s_models_are_said(model, coco, tmp_path, monkeypatch, capsys):
    (tmp_path / 'work_dirs/demo').mkdir(parents=True)
    (tmp_path / 'work_dirs/demo/epoch_6.pth').write_bytes((tmp_path / 'weights.pth').read_bytes())
    monkeypatch.setattr('damamba.inference.published.DEMO_CONFIG', tmp_path / 'small.py')
    monkeypatch.chdir(tmp_path)
    assert predict(coco / 'val2017/000000000001.jpg') == 0
    said = capsys.readouterr().out
    assert f'model: {tmp_path}/small.py with work_dirs/demo/epoch_6.pth' in said
    assert '000000000001.jpg, 128 x 96: ' in said and ' ms a picture (median; read' in said
    assert (tmp_path / 'predictions/overlays/000000000001.jpg').is_file()


def frames_of(path) -> int:
    video = cv2.VideoCapture(str(path))
    return sum(video.read()[0] for _ in range(100))


def test_videos_and_names_that_would_collide_are_kept_apart(model, tmp_path):
    folder, out = tmp_path / 'in', tmp_path / 'out'
    (folder / 'q/clip.mp4').mkdir(parents=True)
    write_video(folder / 'clip.mp4', 3)
    for name in ('clip.avi', 'q/clip.avi'):
        write_video(folder / name, 2, 'MJPG')
    for name in ('q/clip.mp4/a.png', 'classes.png', 'ä' * 120 + '.png', 'new\nline %d.png', '-a.png'):
        cv2.imwrite(str(folder / name), np.zeros((96, 128, 3), np.uint8))
    kinds = ['--save', 'overlays', 'coco', 'masks', 'yolo', 'label-studio']
    assert predict(folder, folder / 'clip.mp4', *model, '--out', out, *kinds) == 0
    videos = {str(it.relative_to(out / 'overlays')): frames_of(it) for it in out.rglob('*.mp4')}
    assert videos == {'clip.mp4': 2, 'clip_2.mp4': 3, 'clip_3.mp4': 3, 'q/clip.mp4': 2}
    pictures = {it.stem for it in out.glob('overlays/**/*.png')}
    assert pictures == {'a', 'classes_2', 'ä' * 120, 'new\nline %d', '-a'}
    assert (out / 'yolo/classes.txt').read_text().startswith('thing 0\n') and (out / 'yolo/classes_2.txt').is_file()
    assert not list(out.rglob('.*'))


def test_a_folder_that_can_not_be_written_to_or_is_the_pictures_own_is_refused(model, coco, tmp_path, capsys):
    picture = tmp_path / 'overlays/a.jpg'
    picture.parent.mkdir()
    picture.write_bytes((coco / 'val2017/000000000001.jpg').read_bytes())
    before = picture.read_bytes()
    for source in (tmp_path, picture, f'{tmp_path}/*/*.jpg'):
        assert predict(source, *model, '--out', tmp_path) == 1
        assert f'{picture} would be drawn over: take another --out' in capsys.readouterr().err
    assert predict(picture, *model, '--out', picture) == 1
    assert f'{picture} can not be written to: File exists' in capsys.readouterr().err
    assert predict(picture, *model, '--out', tmp_path, '--save', 'coco') == 0 and picture.read_bytes() == before


def test_ctrl_c_keeps_what_was_found_until_then(model, coco, tmp_path, monkeypatch, capsys):
    def camera(self, source, skip_unreadable):
        yield from list(found(self, str(coco / 'val2017/000000000001.jpg')))
        raise KeyboardInterrupt

    found = Predictor.__call__
    monkeypatch.setattr(Predictor, '__call__', camera)
    assert predict('77', *model, '--out', tmp_path / 'out') == 130
    assert 'stopped' in capsys.readouterr().out and json.loads((tmp_path / 'out/predictions.bbox.json').read_text())
