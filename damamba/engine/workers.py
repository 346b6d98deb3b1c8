"""What became of a data worker that ended before its time, and what its user can do."""

import shutil
import traceback

SHARED = '/dev/shm'
PATIENCE = 2.0  # seconds


def fate_of_worker(error: Exception) -> str | None:
    """What a user is told of an error that came since a data worker is gone; None of any other error."""
    text = ' '.join(str(error).split())
    if isinstance(error, RuntimeError) and text.startswith('DataLoader worker (pid'):
        return f'{text.split(". ")[0].rstrip(".")}: {_hint(text)}'
    if not isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        return None
    try:
        dead = _dead_workers(error)
    except RuntimeError as told:  # torch's own error, which comes by a signal, has come meanwhile
        return fate_of_worker(told)
    if dead:
        return f'DataLoader worker (pid {", ".join(dead)}) is gone ({type(error).__name__}): {_hint(text)}'
    return None


def _dead_workers(error: Exception) -> list[str]:
    """The workers that no longer run, of the loaders that an error came through: it may come before torch's own."""
    loaders = [frame.f_locals.get('self') for frame, _ in traceback.walk_tb(error.__traceback__)]
    workers = {id(it): it for loader in loaders for it in getattr(loader, '_workers', ())}
    for worker in workers.values():
        worker.join(PATIENCE / len(workers))
    return [str(worker.pid) for worker in workers.values() if not worker.is_alive()]


def _hint(text: str) -> str:
    if 'Bus error' in text or 'shared memory' in text:
        usage = shutil.disk_usage(SHARED)
        return (
            f'{SHARED} is full ({usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB are free), through which '
            'workers hand over pictures: a container gets more by --shm-size=16g (docker), and fewer workers or '
            'smaller batches need less (--cfg-options train_dataloader.num_workers=2)'
        )
    return (
        'where nobody killed it, memory ran out (dmesg tells), of the machine or of the container: fewer workers or '
        'smaller batches need less (--cfg-options train_dataloader.num_workers=2). --resume goes on from the last '
        'checkpoint'
    )
