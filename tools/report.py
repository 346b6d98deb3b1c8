"""Make one report of finished runs: python tools/report.py WORK_DIR... --out DIR (--help says more)."""

from damamba.cli.report import main

if __name__ == '__main__':
    main()
