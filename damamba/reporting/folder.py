"""The folder of a report: written whole or not at all, and never over files of somebody else."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from damamba.reporting.runs import ReportError

LIST = '.report.json'  # names the files of a report in its folder
SUFFIXES = ('.html', '.md', '.csv', '.png')
PAGES = ('report.html', 'report.md')


@contextmanager
def written_at_once(out: Path) -> Iterator[Path]:
    """A folder to write a report into, which takes the place of the earlier one in ``out`` once it is whole.

    Raises:
        ReportError: files in ``out`` that are of no report have the names of this one's.
        OSError: ``out`` can't be written.
    """
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    earlier = _files_of_report(out)
    try:
        _refuse_foreign(out, PAGES, earlier)
        with TemporaryDirectory(prefix='.report-', dir=out) as beside:
            yield Path(beside)
            names = sorted(os.listdir(beside))
            _refuse_foreign(out, names, earlier)
            _list_files(out, {*names, *earlier})  # if moving is cut off
            for name in names:
                os.replace(Path(beside, name), out / name)
            for name in earlier.difference(names):
                (out / name).unlink(missing_ok=True)
            _list_files(out, names)
    except BaseException:
        if is_new and not any(out.iterdir()):
            out.rmdir()
        raise


def _refuse_foreign(out: Path, names: Iterable[str], earlier: set[str]) -> None:
    for name in names:
        if (out / name).exists() and name not in earlier:
            raise ReportError(f'{out / name} is of no report that was made here: move it away, or give another --out')


def _list_files(out: Path, names: Iterable[str]) -> None:
    (out / LIST).write_text(json.dumps({'files': sorted(names)}), encoding='utf-8')


def _files_of_report(out: Path) -> set[str]:
    """What an earlier report left in its own folder."""
    try:
        files = json.loads((out / LIST).read_text(encoding='utf-8'))['files']
        return {name for name in files if Path(name).name == name and Path(name).suffix in SUFFIXES}
    except (OSError, ValueError, TypeError, KeyError):
        return set()
