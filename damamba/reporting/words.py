"""Texts that several parts of a report have in common."""

from collections.abc import Iterable, Mapping


def listed(names: Iterable[str]) -> str:
    """a, b and c."""
    names = list(names)
    return ' and '.join([', '.join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, one: str, several: str = '') -> str:
    """1 epoch, 2 epochs."""
    return f'{number} {one if number == 1 else several or f"{one}s"}'


def place_of(speed: Mapping) -> str:
    """On what times were measured: they compare where that is the same."""
    threads = speed.get('threads') if speed['kind'] == 'cpu' else None
    of_threads = f' of {counted(threads, "thread")}' if threads else ''
    each = ' each' if threads and speed['processes'] > 1 else ''
    processes = counted(speed['processes'], 'process', 'processes')
    return f'{speed["device"]}, {processes}{of_threads}{each}, batch {speed["batch_size"]}'
