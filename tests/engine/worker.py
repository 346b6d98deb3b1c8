"""What tests have torchrun start in place of a training: it notes what happens to it, and imports nothing heavy.

``worker.py FOLDER MODE [SECONDS]``: ``save`` takes some seconds after a signal, and ends with 128 and its number;
``deaf`` heeds none; ``die`` is killed in the first start on rank 0, and ends well in the next; ``crash`` ends badly on
rank 0; so does ``mistake``, which says in a sentence what is wrong; ``end`` ends well.
"""

import os
import signal
import sys
import time
from pathlib import Path

FOLDER, MODE, SECONDS = Path(sys.argv[1]), sys.argv[2], float((*sys.argv, '', '0')[3] or 0)
RANK, START = os.environ['RANK'], os.environ['TORCHELASTIC_RESTART_COUNT']
heard: list[int] = []


def note(event: object) -> None:
    with (FOLDER / f'{RANK}.txt').open('a') as file:
        file.write(f'{event}\n')


def act() -> None:
    if heard and MODE == 'save':
        time.sleep(SECONDS)
        note(f'saved after {heard}')
        sys.exit(128 + heard[0])
    if MODE == 'end' or (MODE == 'die' and START != '0'):
        sys.exit(0)
    if RANK == '0' and MODE == 'die':
        os.kill(os.getpid(), signal.SIGKILL)
    if RANK == '0' and MODE == 'mistake':
        Path(os.environ['TORCHELASTIC_ERROR_FILE']).write_text('{"message": "error: no such file"}')
        sys.exit(1)
    if MODE in ('crash', 'mistake', 'die') and (RANK == '0' or heard):
        sys.exit(1)


for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(signum, lambda number, frame: heard.append(number))
note(f'start {START} of {os.environ["WORLD_SIZE"]}')
(FOLDER / f'{RANK}.pid').write_text(str(os.getpid()))
end = time.monotonic() + 120
while time.monotonic() < end:
    act()
    time.sleep(0.02)
