"""Looks at an installation and its machine: what is there, whether it works, and what mends what does not.

Nothing is needed to import this: a package that is missing is what it is to find.
"""

import sys
from typing import NamedTuple

PIP = f'{sys.executable} -m pip'
GIB = 2**30


class Problem(NamedTuple):
    """What is wrong, and the command that mends it."""

    what: str
    command: str
    broken: bool = True  # False: things work, but worse than they could

    def __str__(self) -> str:
        return f'{self.what}: run `{self.command}`.'


class Look(NamedTuple):
    """What one look has found: a line each, and the problems."""

    rows: dict[str, str]
    problems: list[Problem]


def first_line(error: Exception) -> str:
    """Of an error: compiled packages can add pages to it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
