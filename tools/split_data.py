"""Split a data set in COCO's format: python tools/split_data.py ANNOTATIONS OUT --fractions 0.8 0.1 0.1."""

from damamba.cli.split_data import main

if __name__ == '__main__':
    main()
