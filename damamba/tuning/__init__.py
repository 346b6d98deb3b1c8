"""Hyper-parameters of any config, searched by Optuna on what a training's validation measures.

space.py      what may be tuned, between which limits
overrides.py  values of a space into a config and into its file
training.py   a trial's training, in processes of its own
conditions.py what else in a config decides on a trial's value: the same in the whole study
strategy.py   what chooses values, what ends weak trials
storage.py    where a study lies: a file, a journal, a database
ledger.py     which trials of a study count, run, or were lost with their worker
worker.py     one process that takes trials of a study, until there are enough
results.py    the best values as a config, the trials as tables
plots.py      pictures of a study
"""

from damamba.engine.config import ConfigError


class TuningError(ConfigError):
    """A study that can't be run as it was asked for; the text says what to change."""
