"""What a run lacks for a report, and the commands that make it, by what the run's files say."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from damamba.reporting.runs import Result, Run
from damamba.reporting.words import filled
from damamba.run_record import details_of

UNKNOWN = 'its time, memory, number of parameters and training, of which a file of results says nothing'


class Missing(NamedTuple):
    """What is not there of a run; ``command`` makes it, where one does."""

    run: str
    what: str
    command: str | None = None


def missing_of_all(runs: Sequence[Run]) -> list[Missing]:
    """All that runs lack; each should be tested on all subsets on which one of the same data set was."""
    found = []
    for run in runs:
        if run.is_foreign:
            found += [] if run.own.reasons else [Missing(run.name, UNKNOWN)]
            continue
        rivals = [other for other in runs if (other.own and other.own.data) == (run.own and run.own.data)]
        found += missing_of(run, sorted({it.subset for other in rivals for it in other.results} - {''}))
    return found


def missing_of(run: Run, tested: Iterable[str] = ()) -> list[Missing]:
    """All that a run lacks, in one entry what one command makes; ``tested`` are the subsets that others were tested on.

    What lacks of a test that is refused is not worth making before that is mended.
    """
    told = dict(run=run, tested=tested, train=train_command, test=test_command, details_of=details_of)
    by_command: dict[str, Missing] = {}
    for line in filter(None, filled('missing.j2', **told).split('\n')):
        what, _, command = line.partition('\t')
        earlier = by_command.get(command or what)
        by_command[command or what] = Missing(run.name, f'{earlier.what}; {what}' if earlier else what, command or None)
    return list(by_command.values())


def diagnose_command(result: Result) -> str:
    """The command that says more of the faults of a file of results."""
    words = ['damamba', 'diagnose', result.run.folder, '--annotations', result.get('ann_file')]
    return shlex.join(map(str, words))


def train_command(run: Run) -> str:
    """The command that trains a run into its folder."""
    return shlex.join(['bash', 'dist_train.sh', _config_of(run), '1', '--work-dir', str(run.folder)])


def test_command(run: Run, result: Result | None = None, subset: str = '', details: bool = False) -> str:
    """The command that tests a run, with the proof: as ``result`` was tested, where that is known, or by the folder."""
    told = result.content if result else {}
    words = _as_typed(run, told) or _by_folder(run, told, subset or (result.subset if result else ''))
    if details:  # in place of what was said of details before
        words = [word for word in words if not word.startswith('details=')]
        words += [] if '--eval-options' in words else ['--eval-options']
        words.insert(words.index('--eval-options') + 1, 'details=True')
    return shlex.join(words if '--prove' in words else [*words, '--prove'])


def _as_typed(run: Run, told: dict) -> list[str] | None:
    """What is recorded, if it is a test of its own and not a part of another command; of a moved folder as it lies."""
    try:
        words = shlex.split(told.get('command') or '')
    except ValueError:  # an open quote
        return None
    if not _is_test(words):
        return None
    words = [_here(run, word) if word == told.get('checkpoint') else word for word in words]
    words = [piece for word in words for piece in (word.split('=', 1) if word.startswith('--work-dir=') else [word])]
    at = words.index('--work-dir') if '--work-dir' in words else len(words)
    into = next(iter(words[at + 1 :]), f'work_dirs/{Path(told.get("config") or "").stem}')
    is_here = Path(into).resolve() == run.folder.resolve()
    return words if is_here else [*words[:at], '--work-dir', str(run.folder), *words[at + 2 :]]


def _is_test(words: list[str]) -> bool:
    """Whether the first file that is started, or what follows ``damamba``, is the test."""
    for place, word in enumerate(words):
        if Path(word).name == 'damamba':
            return words[place + 1 : place + 2] == ['test']
        if Path(word).suffix in ('.py', '.sh'):
            return Path(word).name in ('test.py', 'dist_test.sh')
    return False


def _by_folder(run: Run, told: dict, subset: str) -> list[str]:
    """A test of what lies in the folder, of several what last_checkpoint names, with as many processes as before."""
    processes = told.get('processes') or (told.get('speed') or {}).get('processes') or 1
    note = run.folder / 'last_checkpoint'
    last = Path(note.read_text(encoding='utf-8', errors='replace').strip()).name if note.is_file() else ''
    saved = sorted(run.folder.glob('*.pth'), key=lambda path: (path.name == last, path.stat().st_mtime))
    checkpoint = _here(run, told.get('checkpoint')) or str([Path('CHECKPOINT'), *saved][-1])
    words = ['bash', 'dist_test.sh', _config_of(run), checkpoint, str(processes), '--eval', 'bbox', 'segm']
    words += ['--work-dir', str(run.folder)]
    return [*words, '--cfg-options', f'test_subset={subset}'] if subset else words


def _config_of(run: Run) -> str:
    """The config that a run left in its folder has all overrides in it; else the one that it was started with."""
    named, left = run.told('config'), sorted(run.folder.glob('*.py'))
    fitting = left if len(left) == 1 else [path for path in left if path.name == Path(named or '').name]
    return str(fitting[0]) if fitting else named or 'CONFIG'


def _here(run: Run, checkpoint: str | None) -> str | None:
    """The work folder may have been moved, and its checkpoints with it."""
    moved = run.folder / Path(checkpoint or '').name
    return str(moved) if moved.is_file() else checkpoint
