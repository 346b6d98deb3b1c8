"""What became of a data worker that ended before its time, and what its user can do."""

import re
import shutil

SHARED = '/dev/shm'


def fate_of_worker(error: Exception) -> str | None:
    """What a user is told of torch's error that a data worker is gone; None of any other error."""
    text = ' '.join(str(error).split())
    if not isinstance(error, RuntimeError) or not re.match(r'DataLoader worker \(pid', text):
        return None
    return f'{text.split(". ")[0].rstrip(".")}: {_hint(text)}'


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
