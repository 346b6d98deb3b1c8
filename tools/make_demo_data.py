"""Draw a data set of synthetic scenes: python tools/make_demo_data.py shapes OUT, or armbench OUT."""

from damamba.cli.make_demo_data import main

if __name__ == '__main__':
    main()
