"""``damamba COMMAND``, which is also ``python -m damamba COMMAND``."""

import sys
from importlib import import_module

from damamba import __version__
from damamba.cli.commands import listing, module_of, unknown
from damamba.cli.console import say


def run(argv: list[str]) -> int | None:
    """Run a command; returns the exit status."""
    if argv[:1] == ['help'] and argv[1:]:
        argv = [argv[1], '--help']
    if not argv:
        sys.stderr.write(f'{listing()}\n')
        return 2
    first, *rest = argv
    if first in ('help', '-h', '--help', '--version'):
        say(f'damamba {__version__}' if first == '--version' else listing())
        return 0
    module = module_of(first)
    if module is None:
        sys.stderr.write(f'{unknown(first)}\n')
        return 2
    return import_module(module).main(rest)


def main() -> None:
    """Entry point."""
    sys.exit(run(sys.argv[1:]))


if __name__ == '__main__':
    main()
