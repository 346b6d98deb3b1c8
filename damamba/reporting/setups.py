"""With what the runs were made: versions, devices, commands."""

from collections.abc import Mapping
from datetime import timedelta

from damamba.reporting.page import Block, Command, Page, Topic
from damamba.reporting.runs import Result
from damamba.reporting.sheets import Column, Sheet, Value, is_figure, plain

HIDDEN = ('seconds', 'config', 'checkpoint', 'ann_file', 'sha256', 'command')


def setup(page: Page) -> Topic:
    """Versions, devices and commands."""
    rows = list(_rows(page))
    names = {
        'what': '',
        'date': '',
        'duration': '',
        'device': '',
        'processes': '',
        'batch_size': 'batch size',
        'seed': '',
    }
    columns = [Column('run'), *(Column(key, heading, form=plain) for key, heading in names.items())]
    columns += [Column(key, hidden=True) for key in HIDDEN]
    sheets = [Sheet('setup', 'Trainings and tests', columns, rows), _versions(page)]
    commands = [Command(f'{row["run"]}, {row["what"]}', row['command']) for row in rows if row.get('command')]
    silent = [row for row in rows if not row.get('command')]
    notes = unlike_versions(page)
    if silent:
        notes.append('Where a command is not shown, the run did not record it.')
    blocks = [Block(sheets=sheets, notes=notes), Block('Commands', commands=commands)]
    return Topic('setup', 'Versions, devices and commands', blocks=[block for block in blocks if not block.empty])


def _rows(page: Page):
    """A row for each training and each test; batch sizes are per process."""
    for run in page.runs:
        for start in run.trainings:
            yield {'run': run.name, 'what': 'training', **_of_start(start)}
        for result in run.results:
            yield {'run': run.name, 'what': f'test on {page.label(result)}', **_of_test(result)}


def _of_start(start: Mapping) -> dict[str, Value]:
    row = {key: start.get(key) for key in ('device', 'processes', 'batch_size', 'seed', 'seconds', 'config', 'command')}
    seconds = row['seconds']
    ended = start.get('finished')
    duration = str(timedelta(seconds=round(seconds))) if is_figure(seconds) else None
    return row | {'date': start.get('started'), 'duration': duration if ended else 'did not end'}


def _of_test(result: Result) -> dict[str, Value]:
    metrics, speed = result.metrics, result.speed or {}
    row = {key: metrics.get(key) for key in ('date', 'config', 'checkpoint', 'ann_file', 'command')}
    row |= {key: speed.get(key) for key in ('device', 'batch_size')}
    return row | {'processes': metrics.get('processes', speed.get('processes')), 'sha256': result.dataset.sha256}


def _versions(page: Page) -> Sheet:
    rows = [{'run': run, 'what': what, **versions} for run, what, versions in _told(page)]
    packages = dict.fromkeys(key for row in rows for key in row if key not in ('run', 'what'))
    return Sheet(
        'versions', 'Versions', [Column('run'), Column('what'), *(Column(it, form=plain) for it in packages)], rows
    )


def _told(page: Page) -> list[tuple[str, str, Mapping[str, str]]]:
    told = []
    for run in page.runs:
        told += [(run.name, 'training', start['versions']) for start in run.trainings if start.get('versions')]
        told += [
            (run.name, f'test on {page.label(result)}', result.metrics['versions'])
            for result in run.results
            if result.metrics.get('versions')
        ]
    return told


def unlike_versions(page: Page) -> list[str]:
    """The packages of which runs had several versions."""
    found: dict[str, dict[str, None]] = {}
    for _, _, versions in _told(page):
        for package, version in versions.items():
            found.setdefault(package, {})[version] = None
    return [
        f'The runs had different versions of {package}: {", ".join(versions)}.'
        for package, versions in found.items()
        if len(versions) > 1
    ]
