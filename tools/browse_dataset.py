"""Draw what a config feeds its model: python tools/browse_dataset.py CONFIG (--help says more)."""

from damamba.cli.browse_dataset import main

if __name__ == '__main__':
    main()
