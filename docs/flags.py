"""Write the tables of flags in docs/commands.md from the commands themselves: ``python docs/flags.py``.

Each table stands below a heading that COMMANDS names; everything else in the file is left as it is.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from damamba.cli import (
    browse_dataset,
    check_dataset,
    convert_data,
    convert_weights,
    demo,
    diagnose,
    doctor,
    eval_results,
    explain,
    get_flops,
    predict,
    prove_evaluation,
    report,
    serve,
    split_data,
    test,
    train,
    tune,
)

PAGE = Path(__file__).resolve().parent / 'commands.md'
COMMANDS = {
    'Flags of training': train.parse,
    'Flags of testing': test.parse,
    'Flags of scoring': eval_results.parse,
    'Flags of proving': prove_evaluation.parse,
    'Flags of counting': get_flops.parse,
    'Flags of converting weights': convert_weights.parse,
    'Flags of checking a data set': check_dataset.parse,
    'Flags of converting a data set': convert_data.parse,
    'Flags of splitting a data set': split_data.parse,
    'Flags of browsing a data set': browse_dataset.parse,
    'Flags of reporting': report.parse,
    'Flags of diagnosing': diagnose.parse,
    'Flags of tuning': tune.parse,
    'Flags of the demo': demo.parse,
    'Flags of predicting': predict.parse,
    'Flags of serving': serve.parse,
    'Flags of the doctor': doctor.parse,
    'Flags of looking inside': explain.parse,
}
HEAD = '| Flag | |\n|---|---|\n'


class _Caught(Exception):
    """The parser, before it reads anything."""


def parser_of(parse: Callable) -> argparse.ArgumentParser:
    """The parser that a command's own function builds."""

    def catch(parser, *args, **kwargs):
        raise _Caught(parser)

    with mock.patch.object(argparse.ArgumentParser, 'parse_args', catch):
        try:
            parse([])
        except _Caught as caught:
            return caught.args[0]
    raise ValueError(f'{parse.__module__} builds no parser')


def rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A row for each flag that ``--help`` lists."""
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS and action.dest != 'help':
            values = _values(action)
            flag = f'{action.option_strings[-1]} {values}'.strip()
            told = action.help % {**vars(action), 'prog': parser.prog}
            flag, told = (text.replace('|', r'\|') for text in (flag, told))
            yield f'| `{flag}` | {told.replace("<", "&lt;")} |'


def _values(action: argparse.Action) -> str:
    """What stands behind a flag: ``KIND ...``, ``[PATH]``, ``train|val|test``."""
    value = action.metavar or ('|'.join(map(str, action.choices)) if action.choices else action.dest.upper())
    return {0: '', '?': f'[{value}]', '+': f'{value} ...'}.get(action.nargs, value)


def filled(text: str) -> str:
    """The page with each table as it should be."""
    for heading, parse in COMMANDS.items():
        table = HEAD + ''.join(f'{row}\n' for row in rows(parser_of(parse)))
        before, rest = text.split(f'\n## {heading}\n', 1)
        between, old = rest.split(HEAD, 1)
        after = re.sub(r'\A(\|.*\n)+', '', old)
        text = f'{before}\n## {heading}\n{between}{table}{after}'
    return text


if __name__ == '__main__':
    PAGE.write_text(filled(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
