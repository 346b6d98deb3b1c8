"""Write the weights of a training checkpoint: python tools/publish_model.py IN.pth OUT.pth."""

from damamba.cli.publish_model import main

if __name__ == '__main__':
    main()
