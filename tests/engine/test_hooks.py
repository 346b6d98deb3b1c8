"""Heads for other classes than those of the data are refused."""

import pytest

from damamba.cli import train as train_command
from damamba.engine.config import ConfigError


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'model.roi_head.mask_head.num_classes=7',
            r'`num_classes` \(7\) in ChunkedMaskHead .*`classes` 80\) in CocoDataset',
        ),
        (
            'train_dataloader.dataset.metainfo.classes=("person","car")',
            r'\(80\) in .*Head .*`classes` 2\) in CocoDataset',
        ),
    ],
)
def test_heads_for_another_number_of_classes_are_refused_before_an_epoch_is_spent(
    small_config, tmp_path, option, message
):
    with pytest.raises(ConfigError, match=message):
        train_command.train([str(small_config), '--work-dir', str(tmp_path), '--cfg-options', option])
    assert not list(tmp_path.glob('*.pth'))
