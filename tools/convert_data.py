"""Convert the labels of another tool to COCO, or to YOLO: python tools/convert_data.py SRC DST (--help says more)."""

from damamba.cli.convert_data import main

if __name__ == '__main__':
    main()
