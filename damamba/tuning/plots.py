"""Pictures of a study: Optuna's own, with whole names, colours that last, and no letter taken for mathematics."""

import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
import optuna
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from optuna.visualization import matplotlib as optuna_plots

from damamba.tuning.lost_trials import ended, is_default, trials_in
from damamba.tuning.overrides import short_key

MOST = 20  # trials in a legend
LONGEST = 24  # letters of a choice
BEHIND = dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1)  # labels among lines


def draw_plots(study: optuna.Study, metric: str, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw what there is to draw; return the files, and for each of the others why it is not there."""
    drawn, missing = [], []
    for name, reason in _reasons(study).items():
        path = folder / f'{name}.png'
        try:
            if not reason:
                _save(PLOTS[name], study, metric, path)
                drawn.append(path)
                continue
            path.unlink(missing_ok=True)  # of another study
            missing.append(f'{path.name} is not drawn: {reason}')
        except Exception as error:  # of whatever kind: the trials are over, and their results are not to be lost
            missing.append(f'{path.name} could not be drawn: {type(error).__name__}: {" ".join(str(error).split())}')
    return drawn, missing


def _reasons(study: optuna.Study) -> dict[str, str]:
    """Why a picture would show nothing, by its name; empty if it would."""
    values = [trial.value for trial in trials_in(study, 'complete')]
    too_few = '' if len(values) > 1 else 'it needs two complete trials'
    no_difference = '' if len(set(values)) > 1 else 'all complete trials have the same value'
    is_followed = any(len(trial.intermediate_values) > 1 for trial in ended(study))
    return {
        'history': '' if values else 'no trial is complete',
        'importance': too_few or no_difference,
        'parallel_coordinate': too_few,
        'intermediate_values': '' if is_followed else 'no trial was validated more than once',
    }


def _save(plot: Callable, study: optuna.Study, metric: str, path: Path) -> None:
    matplotlib.use('agg')  # for files: no screen is needed
    with warnings.catch_warnings(), matplotlib.rc_context({'text.parse_math': False}):  # a $ in a name is a letter
        warnings.simplefilter('ignore')  # of scales with a single value, and that functions may change
        figure = plot(study, metric).figure
        figure.savefig(path, dpi=130, bbox_inches='tight')  # as wide as its names and its legend
        pyplot.close(figure)


def _history(study: optuna.Study, metric: str) -> Axes:
    """Value by number, and the best until then."""
    axes = optuna_plots.plot_optimization_history(study, target_name=metric)
    axes.lines[0].set(drawstyle='steps-post')  # between two trials nothing gets better
    own = next((trial.value for trial in ended(study) if is_default(trial) and trial.value is not None), None)
    if own is not None:
        axes.axhline(own, ls=':', color='black', label="the config's own values")
    axes.legend()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _titled(axes, f'{study.study_name}: {metric} of the trials')


def _importance(study: optuna.Study, metric: str) -> Axes:
    """How much of the differences each key stands for, as Optuna estimates it (PED-ANOVA)."""
    axes = optuna_plots.plot_param_importances(study, target_name=metric)
    axes.figure.set_size_inches(6.4, 1.4 + 0.45 * len(axes.get_yticks()))
    axes.set(xlabel='share', ylabel='')
    axes.get_legend().remove()
    return _titled(axes, f'What {metric} depends on, by {len(trials_in(study, "complete"))} trials')


def _parallel(study: optuna.Study, metric: str) -> Axes:
    """A line for each complete trial through its values, coloured by what it reached."""
    axes = optuna_plots.plot_parallel_coordinate(study, target_name=metric)
    keys = sorted({key for trial in trials_in(study, 'complete') for key in trial.params})
    axes.figure.set_size_inches(max(8, 3 + 2.4 * len(keys)), 5)
    axes.set_xticklabels([metric, *map(short_key, keys)], rotation=330, ha='left')
    axes.collections[0].set_cmap('viridis_r')  # Optuna's blues let weak trials fade into the white
    for scale in axes.figure.axes[2:]:  # the first two are the metric's, and the colours'
        _make_readable(scale)
    return _titled(axes, f'{study.study_name}: values of the trials')


def _make_readable(scale: Axes) -> None:
    """Label a log scale at both ends and between them, cut long choices, keep lines off all labels."""
    if scale.get_yscale() == 'log':
        low, high = scale.get_ylim()
        ticks = [low, (low * high) ** 0.5, high]
        scale.minorticks_off()
        scale.set_yticks(ticks, [f'{tick:.3g}' for tick in ticks])
    texts = [label.get_text() for label in scale.get_yticklabels()]
    if max(map(len, texts)) > LONGEST:
        short = [text if len(text) <= LONGEST else f'{text[: LONGEST - 1]}…' for text in texts]
        scale.set_yticks(scale.get_yticks(), short)
    for label in scale.get_yticklabels():
        label.set(fontsize=8, bbox=BEHIND)


def _intermediate(study: optuna.Study, metric: str) -> Axes:
    """What each validation measured."""
    axes = optuna_plots.plot_intermediate_values(study)
    axes.set(xlabel='epoch', ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(axes.lines) > MOST:
        axes.get_legend().remove()
    return _titled(axes, f'{study.study_name}: {metric} while training')


def _titled(axes: Axes, title: str) -> Axes:
    axes.set_title(textwrap.fill(title, 60), loc='left', fontsize=11)
    axes.set_title('', loc='center')
    return axes


PLOTS = dict(history=_history, importance=_importance, parallel_coordinate=_parallel, intermediate_values=_intermediate)
