"""What commands print."""

import sys


def say(text: str) -> None:
    """Print a line to standard output, at once."""
    sys.stdout.write(f'{text}\n')
    sys.stdout.flush()
