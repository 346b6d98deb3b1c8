"""Look through a data set in COCO's format: python tools/check_dataset.py PATH (--help says more)."""

from damamba.cli.check_dataset import main

if __name__ == '__main__':
    main()
