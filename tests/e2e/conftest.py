"""What takes minutes, and several tests look at."""

import pytest

from tests.e2e.shell import run

EPOCHS = 3  # of the demo's 6, on all of its scenes


@pytest.fixture(scope='session')
def demo_run(tmp_path_factory):
    """The folder of half a `make demo`, with shapes/ and demo/ in it, and what it printed."""
    folder = tmp_path_factory.mktemp('half')
    flags = f'--epochs {EPOCHS} --data-root {folder}/shapes --work-dir {folder}/demo'
    return folder, run(['make', '--assume-old=install', 'demo', f'ARGS={flags}'])


@pytest.fixture(scope='session')
def demo_weights(demo_run):
    return demo_run[0] / f'demo/epoch_{EPOCHS}.pth'


@pytest.fixture(scope='session')
def armbench_data(tmp_path_factory):
    """The folder of the whole stand-in of ARMBench."""
    folder = tmp_path_factory.mktemp('armbench_data')
    run(['python', 'tools/make_demo_data.py', 'armbench', folder])
    return folder
