"""Score predictions that lie in a file: python tools/eval_results.py FILE (--help says more)."""

from damamba.cli.eval_results import main

if __name__ == '__main__':
    main()
