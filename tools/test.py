"""Test a detector: python tools/test.py CONFIG CHECKPOINT --eval bbox segm (--help says more)."""

from damamba.cli.test import main

if __name__ == '__main__':
    main()
