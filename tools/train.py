"""Train a detector: python tools/train.py CONFIG (--help says more)."""

from damamba.cli.train import main

if __name__ == '__main__':
    main()
