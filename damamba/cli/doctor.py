"""Say what is installed, on what it runs, whether it works, and which command mends what does not.

The exit status is 1 if something is broken; what is merely slow, or short of space, is a warning.
"""

import argparse
import json
import shutil
import sys
import textwrap

from damamba.cli.commands import command_parser
from damamba.cli.console import say
from damamba.doctor import Look
from damamba.doctor.machine import look_at_devices, look_at_disks, look_at_threads
from damamba.doctor.operators import look_at_backends, look_at_mmcv
from damamba.doctor.packages import look_at_opencv, look_at_optional, look_at_versions


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('doctor', __doc__)
    parser.add_argument('--json', action='store_true', help='print one JSON object in place of the text')
    return parser.parse_args(argv)


def look() -> dict[str, Look]:
    """Everything, by the titles that are printed; what needs torch or mmcv is left out where they do not import."""
    versions = look_at_versions()
    has_torch = versions.rows['torch'] != '-'
    detects = has_torch and '-' not in (versions.rows['torchvision'], versions.rows['mmcv'])
    looks = {
        'Versions': versions,
        'Devices': look_at_devices() if has_torch else None,
        "DAMamba's operators": look_at_backends() if has_torch else None,
        "mmcv's operators": look_at_mmcv() if detects else None,
        'OpenCV': look_at_opencv(),
        'CPU threads': look_at_threads() if has_torch else None,
        'Space': look_at_disks() if has_torch else None,
        'Optional packages': look_at_optional(),
    }
    return {title: it for title, it in looks.items() if it}


def as_json(looks: dict[str, Look]) -> str:
    """One object: whether all of it works, the lines by title, the problems."""
    problems = [it._asdict() for found in looks.values() for it in found.problems]
    rows = {title: found.rows for title, found in looks.items()}
    return json.dumps({'works': not any(it['broken'] for it in problems), **rows, 'problems': problems}, indent=2)


def as_text(looks: dict[str, Look]) -> str:
    """The lines under their titles, then a sentence for each problem."""
    width = max(len(name) for found in looks.values() for name in found.rows)
    columns = max(60, shutil.get_terminal_size().columns)
    lines = []
    for title, found in looks.items():
        lines.append(title)
        for name, text in found.rows.items():
            lines += textwrap.wrap(f'  {name:<{width}}  {text}', columns, subsequent_indent=' ' * (width + 4))
    problems = [it for found in looks.values() for it in found.problems]
    works = [] if any(it.broken for it in problems) else ['All of it works.']
    return '\n'.join([*lines, '', *(f'{"broken" if it.broken else "warning"}: {it}' for it in problems), *works])


def main(argv: list[str] | None = None) -> int:
    """Print what was found; returns the exit status."""
    args, looks = parse(argv), look()
    say(as_json(looks) if args.json else as_text(looks))
    return int(any(it.broken for found in looks.values() for it in found.problems))


if __name__ == '__main__':
    sys.exit(main())
