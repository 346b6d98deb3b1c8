"""Say why the mAP of a file of results is what it is: python tools/diagnose.py RESULTS --annotations JSON."""

from damamba.cli.diagnose import main

if __name__ == '__main__':
    main()
