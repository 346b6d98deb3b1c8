"""What takes minutes, and several tests look at."""

import pytest

from tests.e2e.shell import run


@pytest.fixture(scope='session')
def full_demo(tmp_path_factory):
    """The folder of a whole `make demo`, with shapes/ and demo/ in it, and what it printed."""
    folder = tmp_path_factory.mktemp('full')
    return folder, run(['make', 'demo', f'ARGS=--data-root {folder}/shapes --work-dir {folder}/demo'])


@pytest.fixture(scope='session')
def armbench_data(tmp_path_factory):
    """The folder of the whole stand-in of ARMBench."""
    folder = tmp_path_factory.mktemp('armbench_data')
    run(['python', 'tools/make_demo_data.py', 'armbench', folder])
    return folder
