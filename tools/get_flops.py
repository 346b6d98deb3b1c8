"""Count a detector's parameters and MACs: python tools/get_flops.py CONFIG --shape 800 1280 (--help says more)."""

from damamba.cli.get_flops import main

if __name__ == '__main__':
    main()
