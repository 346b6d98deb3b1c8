"""Reading JSON that somebody else wrote: no more than fits into memory, no deeper than Python goes."""

import json
import os
import resource
import stat
from pathlib import Path

TIMES = 3  # memory that a file takes at least, in times of its length
SHOWN = 2**30


def read_json(path: str | os.PathLike) -> object:
    """What is in a file on this machine.

    Raises:
        ValueError: it is no file, no JSON in UTF-8, nested too deep, or longer than memory is; the text says which.
        OSError: it can't be read.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError('it is no file')  # a pipe would be waited for
    with path.open('rb') as file:
        start = file.read(64).lstrip()
    if start.startswith(b'\0'):
        raise ValueError('it begins with zeros')  # of any length, which costs nothing to announce
    least, left = TIMES * status.st_size, memory_left()
    if least > left:
        needed = f'needs some {least / SHOWN:.0f} GiB of memory at least, and {left / SHOWN:.1f} are left'
        raise ValueError(f'it is {status.st_size / SHOWN:.1f} GiB long: that {needed}')
    return parse(path.read_bytes())


def parse(content: str | bytes) -> object:
    """What JSON says, as UTF-8 where it is bytes; a byte order mark, as some tools write it, is left out.

    Raises:
        ValueError: it is none, or nested too deep.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        return json.loads(text.removeprefix('\ufeff'))
    except RecursionError as error:
        raise ValueError('lists within lists, too deep to read') from error
    except MemoryError as error:
        raise ValueError('it takes more memory than is left') from error


def memory_left() -> int:
    """Bytes that this process may still take."""
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    limits = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    try:
        lines = Path('/proc/meminfo').read_text(encoding='ascii').splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:')]
    except OSError:
        limits.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    return min(limits)
