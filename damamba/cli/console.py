"""What commands print."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print a line to standard output, at once."""
    sys.stdout.write(f'{text}\n')
    sys.stdout.flush()


@contextmanager
def progress(what: str, then: str) -> Iterator[Callable[[int, int], None]]:
    """On a terminal a bar shows how far ``then`` is: what is yielded takes how much is done, and of how much."""
    from rich.console import Console  # `damamba --help` is to be quick
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, description=then, completed=done, total=total)
