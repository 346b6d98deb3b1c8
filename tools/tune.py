"""Search hyper-parameters on validation mask mAP: python tools/tune.py CONFIG --preset lr (--help says more)."""

from damamba.cli.tune import main

if __name__ == '__main__':
    main()
