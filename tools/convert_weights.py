"""Bring other people's weights here, or take ours back: python tools/convert_weights.py SRC DST (--help says more)."""

from damamba.cli.convert_weights import main

if __name__ == '__main__':
    main()
