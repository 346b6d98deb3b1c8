"""Configs that are YAML or JSON hold data: nothing in them runs, and what is wrong with one is a sentence."""

import pytest

from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError

LAUGHS = 'a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 10)
)
BROKEN = {
    'code.yaml': ('x: !!python/object/apply:os.mkdir ["{folder}/done"]\n', 'could not determine a constructor'),
    'code.yml': ('x: !!python/name:os.system\n', 'could not determine a constructor'),
    'laughs.yaml': (LAUGHS, 'more than 1,000,000 settings'),
    'list.yaml': ('[1, 2]\n', 'holds no settings by their names'),
    'itself.yaml': ('x: &x [*x]\n', 'recursion'),
    'cut.json': ('{"model":', 'Expecting value'),
    'deep.json': ('[' * 10**5, 'recursion'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_it_is_refused_in_words(name, tmp_path):
    content, text = BROKEN[name]
    (tmp_path / name).write_text(content.format(folder=tmp_path) if name == 'code.yaml' else content)
    with pytest.raises(ConfigError, match=f'{name} can not be read: .*{text}'):
        read_config(str(tmp_path / name))
    assert not (tmp_path / 'done').exists()


def test_data_is_read(tmp_path):
    (tmp_path / 'a.yaml').write_text('work_dir: here\nmax_left_out: 0.5\nscale: !!python/tuple [1, [2]]\n')
    cfg = read_config(str(tmp_path / 'a.yaml'))
    assert cfg.max_left_out == 0.5 and cfg.scale == (1, [2])  # as MMEngine writes tuples
    with pytest.raises(ConfigError, match='max_left_out must be a share of the training set, from 0 to 1, got 3'):
        read_config(str(tmp_path / 'a.yaml'), {'max_left_out': 3})
