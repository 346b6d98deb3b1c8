"""What a run lacks for a report, and the command that makes it."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from damamba.reporting.runs import Dataset, Result, Run, time_of

DETAILS = 'the details (error breakdown, precision by recall, relative areas, over- and under-segmentation)'


@dataclass(frozen=True)
class Missing:
    """What is not there of a run; ``command`` makes it, where one does."""

    run: str
    what: str
    command: str | None = None


def missing_of(run: Run, tested: Iterable[str] = ()) -> list[Missing]:
    """All that a run lacks; ``tested`` are the subsets that other runs were tested on."""
    found = [*_of_training(run), *_of_tests(run, tested)]
    for result in run.results:
        if not result.reasons:
            found += _of_result(run, result)
    return _joined(found)


def test_command(run: Run, result: Result | None = None, subset: str = '', details: bool = False) -> str:
    """The command that tests a run, with the proof: as ``result`` was tested, where that is known, or by the folder."""
    typed = _as_typed(run, result) if result else None
    words = typed or _by_folder(run, result, subset or (result.subset if result else ''))
    if details:
        words = _with_details(words)
    return shlex.join(words if '--prove' in words else [*words, '--prove'])


def _with_details(words: list[str]) -> list[str]:
    """In place of what was said of details before."""
    words = [word for word in words if not word.startswith('details=')]
    if '--eval-options' not in words:
        return [*words, '--eval-options', 'details=True']
    at = words.index('--eval-options') + 1
    return [*words[:at], 'details=True', *words[at:]]


def _as_typed(run: Run, result: Result) -> list[str] | None:
    """What is recorded, if it is a test of its own and not a part of another command; of a moved folder as it lies."""
    try:
        words = shlex.split(result.metrics.get('command') or '')
    except ValueError:  # an open quote
        return None
    if _script(words) not in ('test', 'test.py', 'dist_test.sh'):
        return None
    checkpoint = result.metrics.get('checkpoint')
    return _in_folder([_here(run, word) if word == checkpoint else word for word in words], run, result)


def _script(words: list[str]) -> str:
    """What is started: a file, or after ``-m damamba`` the command."""
    for index, word in enumerate(words):
        if word == 'damamba' and words[index - 1] == '-m':
            return words[index + 1] if index + 1 < len(words) else ''
        if Path(word).suffix in ('.py', '.sh'):
            return Path(word).name
    return ''


def _in_folder(words: list[str], run: Run, result: Result) -> list[str]:
    """With ``--work-dir``, unless the test would write into the run's folder without."""
    words = [piece for word in words for piece in (word.split('=', 1) if word.startswith('--work-dir=') else [word])]
    at = words.index('--work-dir') + 1 if '--work-dir' in words else len(words)
    told = words[at] if at < len(words) else f'work_dirs/{Path(result.metrics.get("config") or "").stem}'
    if Path(told).resolve() == run.folder.resolve():
        return words
    return [*words[:at], *([] if '--work-dir' in words else ['--work-dir']), str(run.folder), *words[at + 1 :]]


def _by_folder(run: Run, result: Result | None, subset: str) -> list[str]:
    metrics = result.metrics if result else {}
    checkpoint = _here(run, metrics.get('checkpoint')) or _checkpoint(run)
    processes = metrics.get('processes') or (metrics.get('speed') or {}).get('processes') or 1
    words = ['bash', 'dist_test.sh', _config(run), checkpoint, str(processes), '--eval', 'bbox', 'segm']
    words += ['--work-dir', str(run.folder)]
    return [*words, '--cfg-options', f'test_subset={subset}'] if subset else words


def _config(run: Run) -> str:
    """The config that a run left in its folder has all overrides in it; else the one that it was started with."""
    told = [it.get('config') for it in (*(r.metrics for r in run.results), run.validation or {}, *run.starts)]
    named = next((config for config in told if config), None)
    left = sorted(run.folder.glob('*.py'))
    for path in left:
        if len(left) == 1 or path.name == Path(named or '').name:
            return str(path)
    return named or 'CONFIG'


def _here(run: Run, checkpoint: str | None) -> str | None:
    """The work folder may have been moved, and its checkpoints with it."""
    moved = run.folder / Path(checkpoint or '').name
    return str(moved) if moved.is_file() else checkpoint


def _checkpoint(run: Run) -> str:
    """The one that last_checkpoint names, or else the newest."""
    note = run.folder / 'last_checkpoint'
    last = Path(note.read_text(encoding='utf-8', errors='replace').strip()) if note.is_file() else None
    if last and (run.folder / last.name).is_file():
        return str(run.folder / last.name)
    saved = sorted(run.folder.glob('*.pth'), key=lambda path: path.stat().st_mtime)
    return str(saved[-1]) if saved else 'CHECKPOINT'


def _of_training(run: Run) -> list[Missing]:
    train = shlex.join(['bash', 'dist_train.sh', _config(run), '1', '--work-dir', str(run.folder)])
    if run.log.left_out and not run.log.train:
        logs = ' and '.join(run.log.left_out)
        return [Missing(run.name, f'epochs in its log {logs}, which counts iterations alone: no curves')]
    if not run.log.train and not run.log.val:
        what = 'the log of its training (a <date>/vis_data/scalars.json with rows in it): no curves'
        return [Missing(run.name, what, train)]
    found = [] if run.log.train else [Missing(run.name, 'losses in its log', train)]
    if not run.log.val:
        found.append(Missing(run.name, 'validations in its log: no curve of mAP', train))
    if not run.trainings:
        found.append(
            Missing(run.name, 'what started its training (run.json): its command, device and time are unknown')
        )
    return found


def _of_tests(run: Run, tested: Iterable[str]) -> list[Missing]:
    found = [Missing(run.name, f'{path}, which can not be read') for path in run.broken]
    found += [Missing(run.name, f'{path}: a run of its own, whose tests are none of this one') for path in run.others]
    found += [Missing(run.name, _set_aside(*pair)) for pair in run.aside]
    done = {name for result in run.results for name in (result.subset, result.dataset.name)}
    if run.own is None and not (run.validation and Dataset.of(run.validation).name in done):
        epoch = (run.validation or {}).get('epoch')
        after = f' (metrics.json is of the validation after epoch {epoch})' if run.validation else ''
        what = f"a test on its config's own data{after}" if run.results else f'a test{after}: no row in the tables'
        found.append(Missing(run.name, what, test_command(run)))
    for subset in tested:
        if subset not in done:
            found.append(Missing(run.name, f'a test on {subset}', test_command(run, subset=subset)))
    return found


def _set_aside(result: Result, rival: Result) -> str:
    why = 'is refused' if rival.reasons else 'counts'
    when = (result.metrics.get('date') or 'unknown')[:10]
    return f'a row of the test in {result.folder} (date: {when}): that in {rival.folder}, of the same data, {why}'


def _of_result(run: Run, result: Result) -> list[Missing]:
    where = f' of {result.dataset.name}'
    if result.evaluation is None:
        return [Missing(run.name, f'figures of boxes or masks{where}', test_command(run, subset=result.subset))]
    lacking = [] if result.proved else [f'the proof of the evaluation{where}']
    if 'segm' not in result.evaluation['scores']:
        lacking.append(f'masks{where}')
    lacking += [] if result.details else [f'{DETAILS}{where}']
    lacking += [] if (result.examples or {}).get('images') else [f'the example pictures{where}']
    lacking += [] if result.speed else [f'the speed{where}']
    if _trained_since(run, result):
        lacking.append(f'a test{where} since it was trained again: the figures are of the earlier training')
    if lacking and not run.parameters and not result.subset:
        lacking.append('the number of its parameters')
    command = test_command(run, result, details=not result.details)
    return [Missing(run.name, what, command) for what in lacking]


def _trained_since(run: Run, result: Result) -> bool:
    trained = [time_of(start.get('started')) for start in run.trainings]
    tested = time_of(result.metrics.get('date'))
    return any(start and tested and start > tested for start in trained)


def _joined(found: list[Missing]) -> list[Missing]:
    """What one command makes becomes one entry."""
    joined: dict[tuple, list[str]] = {}
    for missing in found:
        key = (missing.run, missing.command or missing.what)
        joined.setdefault(key, []).append(missing.what)
    commands = {(missing.run, missing.command or missing.what): missing.command for missing in found}
    return [Missing(key[0], '; '.join(whats), commands[key]) for key, whats in joined.items()]
