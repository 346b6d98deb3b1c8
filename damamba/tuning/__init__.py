"""Hyper-parameters of any config, searched by Optuna on what a training's validation measures."""

from damamba.engine.config_checks import ConfigError


class TuningError(ConfigError):
    """A study that can't be run as it was asked for; the text says what to change."""
