"""damamba explain PICTURE."""

import numpy as np
import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from PIL import Image

from damamba.cli import explain


@pytest.fixture
def model(small_config, tmp_path):
    from mmdet.registry import MODELS

    register_all_modules()
    torch.save(MODELS.build(Config.fromfile(small_config).model).state_dict(), tmp_path / 'weights.pth')
    return ['--config', str(small_config), '--checkpoint', str(tmp_path / 'weights.pth'), '--device', 'cpu']


@pytest.fixture
def picture(coco):
    return str(sorted((coco / 'val2017').iterdir())[0])


def test_it_writes_a_sheet_an_animation_and_arrays_and_says_so(model, picture, tmp_path, capsys):
    out = tmp_path / 'out'
    explain.show([picture, *model, '--out', str(out), '--position', '30,40', '--stage', '4'])
    name = f'{picture[-16:-4]}.explain'
    assert sorted(path.name for path in out.iterdir()) == [f'{name}.gif', f'{name}.npz', f'{name}.png']
    with np.load(out / f'{name}.npz') as arrays:
        assert arrays['position'].tolist() == [30, 40] and arrays['stage'] == 4
    assert Image.open(out / f'{name}.gif').n_frames == 12  # a frame for each of 3 x 4 cells
    said = capsys.readouterr().out
    assert all(f'wrote {out / name}.{suffix}' in said for suffix in ('png', 'gif', 'npz'))
    assert 'position (30, 40), as asked for' in said and said.count('receptive field: 50 % in') == 4


def test_without_an_animation_there_is_none(model, picture, tmp_path):
    explain.show([picture, *model, '--out', str(tmp_path / 'out'), '--no-animation'])
    assert sorted(path.suffix for path in (tmp_path / 'out').iterdir()) == ['.npz', '.png']


@pytest.mark.parametrize(
    'argv, text',
    [
        (['nothing.jpg'], 'error: nothing.jpg can not be read as a picture: No such file or directory'),
        (['PICTURE'], 'error: no model is named, and work_dirs/demo has no checkpoint of the demo: run `damamba demo`'),
        (['PICTURE', '--out', '/dev/null'], 'error: /dev/null can not be written to: File exists'),
        (['PICTURE', '--config', 'a.py'], 'error: a.py is no config file and no published model'),
    ],
)
def test_a_mistake_is_one_sentence(argv, text, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        explain.main([picture if arg == 'PICTURE' else arg for arg in argv])
    assert end.value.code == 1 and capsys.readouterr().err.startswith(text)


def test_a_position_is_two_numbers(capsys):
    with pytest.raises(SystemExit):
        explain.parse(['a.jpg', '--position', '3'])
    assert 'two numbers' in capsys.readouterr().err
