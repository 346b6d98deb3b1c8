"""Pictures of a study. Optuna's own cut long keys off, and let weak trials fade into the white."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from damamba.tuning.ledger import has_ended, is_default
from damamba.tuning.overrides import short_key

INK, BLUE, ORANGE, GREY = '#333333', '#3b6ea8', '#d1743c', '#9a9a9a'
COLOURS = colormaps['viridis_r']
LONGEST = 24  # letters of a choice
LETTERS = 9  # of a title, to an inch
LABEL = dict(facecolor='white', edgecolor='none', pad=1)
OWN = "the config's own values"


def draw(study: optuna.Study, metric: str, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw what there is to draw; return the files, and for each of the others why it is not there."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if has_ended(trial)]
    drawn, missing = [], []
    for name, (why_not, plot) in PLOTS.items():
        path = folder / f'{name}.png'
        reason = why_not(trials)
        if reason:
            path.unlink(missing_ok=True)  # of another study
            missing.append(f'{path.name} is not drawn: {reason}')
            continue
        try:
            with rc_context({'text.parse_math': False}):  # a $ in a name is a letter
                plot(study, trials, metric).savefig(path, dpi=130)
            drawn.append(path)
        except Exception as error:  # of whatever kind: the trials are over, and their results are not to be lost
            missing.append(f'{path.name} could not be drawn: {type(error).__name__}: {" ".join(str(error).split())}')
    return drawn, missing


def _complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete ones, the best last, as it is drawn over the others."""
    return sorted((trial for trial in trials if trial.state == TrialState.COMPLETE), key=lambda trial: trial.value)


def _nothing(trials: Sequence[FrozenTrial]) -> str:
    return '' if _complete(trials) else 'no trial is complete'


def _too_few(trials: Sequence[FrozenTrial]) -> str:
    return '' if len(_complete(trials)) > 1 else 'it needs two complete trials'


def _no_difference(trials: Sequence[FrozenTrial]) -> str:
    values = {trial.value for trial in _complete(trials)}
    return _too_few(trials) or ('' if len(values) > 1 else 'all complete trials have the same value')


def _no_epochs(trials: Sequence[FrozenTrial]) -> str:
    most = max((len(trial.intermediate_values) for trial in trials), default=0)
    return '' if most > 1 else 'no trial was validated more than once'


def _history(study: optuna.Study, trials: Sequence[FrozenTrial], metric: str) -> Figure:
    """Value by number, and the best until then."""
    figure, axes = _canvas(f'{study.study_name}: {metric} of the trials', (8, 4.5))
    done = sorted(_complete(trials), key=lambda trial: trial.number)
    best = [max(trial.value for trial in done[: i + 1]) for i in range(len(done))]
    last = max(trial.number for trial in trials)
    axes.step(
        [*(trial.number for trial in done), last], [*best, best[-1]], where='post', color=ORANGE, label='the best'
    )
    own = next(filter(is_default, done), None)
    if own:
        axes.axhline(own.value, ls=':', color=INK, lw=1, label=OWN)
    _scatter(axes, done, 'complete', marker='o', color=BLUE)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.value is not None]
    _scatter(axes, pruned, 'pruned', marker='o', facecolors='none', edgecolors=GREY)
    failed = [trial.number for trial in trials if trial.state == TrialState.FAIL]
    if failed:
        floor = min(trial.value for trial in (*done, *pruned))
        axes.scatter(failed, [floor] * len(failed), marker='x', color=GREY, label='failed', zorder=3)
    axes.set(xlabel='trial', ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9)
    return figure


def _scatter(axes: Axes, trials: Sequence[FrozenTrial], label: str, **style: str) -> None:
    if trials:
        axes.scatter([t.number for t in trials], [t.value for t in trials], label=label, zorder=3, **style)


def _importance(study: optuna.Study, trials: Sequence[FrozenTrial], metric: str) -> Figure:
    """How much of the differences each key stands for, as Optuna estimates it (PED-ANOVA)."""
    found = optuna.importance.get_param_importances(study)
    keys = sorted(found, key=found.get)
    figure, axes = _canvas(f'What {metric} depends on, by {len(_complete(trials))} trials', (8, 1.4 + 0.45 * len(keys)))
    bars = axes.barh(keys, [found[key] for key in keys], color=BLUE, height=0.6)
    axes.bar_label(bars, fmt='%.2f', padding=4, color=INK, fontsize=9)
    axes.set(xlabel='share', xlim=(0, 1.08))
    axes.grid(visible=False, axis='y')
    return figure


def _parallel(study: optuna.Study, trials: Sequence[FrozenTrial], metric: str) -> Figure:
    """A line for each trial through its values, coloured by what it reached."""
    done = _complete(trials)
    keys = {key: distribution for trial in done for key, distribution in trial.distributions.items()}
    figure, axes = _canvas(f'{study.study_name}: values of the trials', (max(8, 3 + 2.4 * len(keys)), 5))
    values = [trial.value for trial in done]
    norm = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1e-6)
    for trial in done:
        heights = [_height(trial.params[key], keys[key]) if key in trial.params else None for key in keys]
        points = [(x, y) for x, y in enumerate([*heights, norm(trial.value)]) if y is not None]
        _line(axes, points, trial, trial is done[-1], COLOURS(norm(trial.value)))
    for x, distribution in enumerate(keys.values()):
        _scale(axes, x, _ticks(distribution), 'left')
    _scale(axes, len(keys), [(norm(value), f'{value:.3g}') for value in sorted({values[0], values[-1]})], 'right')
    axes.set_xticks([*range(len(keys) + 1)], [*map(short_key, keys), metric])
    axes.set(yticks=[], ylim=(-0.06, 1.06), xlim=(-0.1, len(keys)))
    axes.spines[['left', 'bottom']].set_visible(False)
    axes.grid(visible=False)
    figure.colorbar(ScalarMappable(norm, COLOURS), ax=axes, pad=0.01, label=metric)
    axes.legend(frameon=False, fontsize=9, loc='lower left', bbox_to_anchor=(0, 1.0), ncols=2)
    return figure


def _scale(axes: Axes, x: int, ticks: list[tuple[float, str]], align: str) -> None:
    """An upright line, with its figures inside the picture."""
    axes.axvline(x, color=INK, lw=0.8, clip_on=False)
    beside = 4 if align == 'left' else -4  # points
    for height, text in ticks:
        axes.annotate(
            text, (x, height), (beside, 0), textcoords='offset points', ha=align, va='center', fontsize=8, color=INK,
            bbox=LABEL,
        )  # fmt: skip


def _line(axes: Axes, points: list[tuple[float, float]], trial: FrozenTrial, best: bool, colour: tuple) -> None:
    label = OWN if is_default(trial) else f'the best, trial {trial.number}' if best else None
    style = '--' if is_default(trial) else '-'
    axes.plot(*zip(*points, strict=True), style, color=colour, lw=3 if best else 1.4, label=label)


def _height(value: object, distribution: BaseDistribution) -> float:
    """Where between the limits a value lies, from 0 to 1, on a log scale if it was drawn on one."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / max(len(distribution.choices) - 1, 1)
    low, high = distribution.low, distribution.high
    if low == high:
        return 0.0
    scale = LogNorm(low, high) if distribution.log else Normalize(low, high)
    return float(scale(value))


def _ticks(distribution: BaseDistribution) -> list[tuple[float, str]]:
    """Height and text: of every choice, or of both limits and between them."""
    if isinstance(distribution, CategoricalDistribution):
        return [(_height(choice, distribution), _cut(str(choice))) for choice in distribution.choices]
    low, high = distribution.low, distribution.high
    middle = (low * high) ** 0.5 if distribution.log else (low + high) / 2
    values = sorted({low, high} if isinstance(low, int) and high - low < 2 else {low, type(low)(middle), high})
    return [(_height(value, distribution), f'{value:.3g}') for value in values]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f'{text[: LONGEST - 1]}…'


def _intermediate(study: optuna.Study, trials: Sequence[FrozenTrial], metric: str) -> Figure:
    """What each validation measured."""
    figure, axes = _canvas(f'{study.study_name}: {metric} while training', (8, 4.5))
    best = (_complete(trials) or [None])[-1]
    for trial in trials:
        points = sorted(trial.intermediate_values.items())
        if not points:
            continue
        style = _style(trial, trial is best)
        axes.plot(*zip(*points, strict=True), marker='o', ms=4, **style)
    if any(trial.state == TrialState.PRUNED for trial in trials):
        axes.plot([], [], ':', color=GREY, marker='o', ms=4, label='pruned')
    axes.set(xlabel='epoch', ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9)
    return figure


def _style(trial: FrozenTrial, best: bool) -> dict:
    if best:
        return dict(color=ORANGE, label=f'the best, trial {trial.number}', zorder=4, lw=2)
    if is_default(trial):
        return dict(color=INK, label=OWN, zorder=3)
    return dict(color=GREY, ls=':') if trial.state == TrialState.PRUNED else dict(color=BLUE)


def _canvas(title: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout='constrained')
    title = textwrap.fill(title, int(LETTERS * size[0]))  # Matplotlib's own way takes a $ for mathematics
    figure.suptitle(title, color=INK, fontweight='bold')
    axes = figure.subplots()
    axes.grid(color='#e6e6e6', lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.tick_params(colors=INK)
    return figure, axes


Plot = Callable[[optuna.Study, Sequence[FrozenTrial], str], Figure]
PLOTS: dict[str, tuple[Callable[[Sequence[FrozenTrial]], str], Plot]] = {
    'history': (_nothing, _history),
    'importance': (_no_difference, _importance),
    'parallel_coordinate': (_too_few, _parallel),
    'intermediate_values': (_no_epochs, _intermediate),
}
