"""The commands in this process."""

from damamba.cli import test as test_command
from damamba.cli import train as train_command


def train(*argv) -> None:
    train_command.train([str(a) for a in argv])


def test(*argv) -> dict:
    return test_command.test([str(a) for a in argv])


test.__test__ = False


def logs(work_dir) -> str:
    return '\n'.join(path.read_text() for path in sorted(work_dir.rglob('*.log')))
