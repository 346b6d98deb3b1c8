"""KEY=VALUE pairs of a command line: numbers, lists and None as in Python, and texts as they were typed."""

import argparse
import ast
import contextlib
import re
from collections.abc import Iterator
from typing import Any

WORDS = {'true': True, 'false': False}
INT = re.compile(r'[+-]?\d+')
FLOAT = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan')
BRACKETS = {'[': ']', '(': ')', '{': '}'}


class OptionAction(argparse.Action):
    """KEY=VALUE pairs into a dictionary; one without the sign, or without a key, is the parser's error."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        wrong = [value for value in values if '=' not in value or value.startswith('=')]
        if wrong:
            parser.error(f'{option_string} takes KEY=VALUE, got {" ".join(wrong)}')
        pairs = dict(value.split('=', 1) for value in values)
        parsed = {key: parse_value(text) for key, text in pairs.items()}
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **parsed})


def add_pairs(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    """Add a flag that takes KEY=VALUE pairs."""
    parser.add_argument(flag, nargs='+', action=OptionAction, default={}, metavar='KEY=VALUE', help=text)


def parse_value(text: str) -> Any:
    """What was typed, as MMEngine takes it, but that no white space is lost: ``[Big Object, Tote]`` are two names.

    Lists are ``[a, b]`` or ``a,b``, tuples ``(a, b)``, dictionaries Python's; a text in quotes is that text, whatever
    it looks like.
    """
    typed = text.strip()
    if len(typed) > 1 and typed[0] == typed[-1] and typed[0] in '\'"' and typed[0] not in typed[1:-1]:
        return typed[1:-1]
    if typed[:1] == '{':
        with contextlib.suppress(ValueError, SyntaxError):
            return ast.literal_eval(typed)
    parts = list(_split(typed))
    if len(parts) > 1:
        return [parse_value(part.strip()) for part in parts if part.strip()]
    if typed[:1] in ('[', '(') and typed[-1] == BRACKETS[typed[0]]:
        items = [parse_value(part.strip()) for part in _split(typed[1:-1]) if part.strip()]
        return items if typed[0] == '[' else tuple(items)
    if INT.fullmatch(typed):
        return int(typed)
    if FLOAT.fullmatch(typed):
        return float(typed)
    return None if typed == 'None' else WORDS.get(typed.lower(), text)


def _split(text: str) -> Iterator[str]:
    """The parts between commas that lie in no brackets and no quotes."""
    start, closing, quote = 0, [], ''
    for place, sign in enumerate(text):
        if quote:
            quote = '' if sign == quote else quote
        elif sign in '\'"' and not text[start:place].strip(' [('):
            quote = sign  # one within a word is an apostrophe
        elif sign in BRACKETS:
            closing.append(BRACKETS[sign])
        elif closing and sign == closing[-1]:
            closing.pop()
        elif sign == ',' and not closing:
            yield text[start:place]
            start = place + 1
    yield text[start:]
