"""What the tests of several commands share."""

import pytest

from tests.cli.helpers import train
from tests.detection import write_config


@pytest.fixture(scope='session')
def trained(tmp_path_factory, coco):
    """The work folder of one epoch."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(folder / 'small.py', coco)
    train(config, '--work-dir', folder / 'run', '--seed', 1)
    return folder / 'run'
