"""Prove the evaluation of a config: python tools/prove_evaluation.py CONFIG."""

from damamba.cli.prove_evaluation import main

if __name__ == '__main__':
    main()
