"""Pictures of a study: Optuna's, with what we mend in them; what can't be drawn is a line."""

import cv2
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from damamba.tuning import plots
from damamba.tuning.plots import draw_plots
from tests.tuning.test_results import study_of

STUDY = 'mask_rcnn_DAMamba_nano_fpn_armbench_demo_tuned'


def study_with(distributions: dict, *trials: tuple, name: str = STUDY) -> optuna.Study:
    """Complete trials, each as (value, values of its keys)."""
    study = optuna.create_study(direction='maximize', study_name=name)
    for value, *params in trials:
        params = dict(zip(distributions, params, strict=True))
        steps = {1: value / 2, 2: value}
        trial = optuna.create_trial(
            value=value, params=params, distributions=distributions, intermediate_values=steps,
            user_attrs={'default': not study.trials},
        )  # fmt: skip
        study.add_trial(trial)
    return study


@pytest.fixture
def parallel():
    """The parallel coordinates of a study of two keys, one of them on a log scale, one with a long choice."""
    keys = {'b.lr': FloatDistribution(1e-5, 1e-1, log=True), 'a.0.end': CategoricalDistribution(['x' * 40, '[2]'])}
    study = study_with(keys, (0.1, 1e-4, 'x' * 40), (0.3, 1e-2, '[2]'))
    axes = plots._parallel(study, 'segm_mAP')
    yield axes
    plots.pyplot.close(axes.figure)


def labels_of(axes) -> dict[float, str]:
    return {
        round(tick, 8): label.get_text() for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }


def test_every_axis_of_the_parallel_coordinates_has_its_name_and_figures(parallel):
    assert [label.get_text() for label in parallel.get_xticklabels()] == ['segm_mAP', 'a.0.end', 'lr']
    choices, rates = parallel.figure.axes[2:]
    assert labels_of(rates) == {1e-4: '0.0001', 1e-3: '0.001', 1e-2: '0.01'}
    assert labels_of(choices) == {0: 'x' * 23 + '…', 1: '[2]'}
    lines = [line[:, 1] for line in parallel.collections[0].get_segments()]
    assert [[*line] for line in lines] == [pytest.approx([0.1, 0.1, 0.1]), pytest.approx([0.3, 0.3, 0.3])]


def test_the_history_has_the_best_so_far_and_the_own_values():
    study = study_with({'lr': FloatDistribution(0, 1)}, (0.2, 0.1), (0.1, 0.2), (0.4, 0.3))
    axes = plots._history(study, 'segm_mAP')
    best, own = axes.lines
    assert [*best.get_ydata()] == [0.2, 0.2, 0.4] and best.get_drawstyle() == 'steps-post'
    assert [*own.get_ydata()] == [0.2, 0.2] and own.get_label() == "the config's own values"
    plots.pyplot.close(axes.figure)


@pytest.mark.parametrize('name', [STUDY, r'cost $\frac$ of _^{'])
@pytest.mark.parametrize('keys', [1, 9])
def test_every_picture_is_drawn_whatever_the_names(tmp_path, name, keys):
    space = {f'model.$x_$.head.loss_weight_{i}': FloatDistribution(0, 1) for i in range(keys)}
    study = study_with(space, *((value, *[value] * keys) for value in (0.1, 0.2, 0.3)), name=name)
    (tmp_path / 'history.png').write_text('old')
    figures = plots.pyplot.get_fignums()
    drawn, missing = draw_plots(study, 'segm_$\\mAP$', tmp_path)
    assert [path.stem for path in drawn] == [*plots.PLOTS] and not missing
    for path in drawn:
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) > 200 and picture[[0, -1]].min() > 200  # nothing is cut off at the edges
    assert plots.pyplot.get_fignums() == figures and plots.matplotlib.rcParams['text.parse_math']


def test_what_can_not_be_drawn_is_said_and_an_old_picture_removed(tmp_path, monkeypatch):
    (tmp_path / 'importance.png').write_text('old')
    drawn, missing = draw_plots(study_of((0.3, 1e-4, {}, {2: 0.3})), 'segm_mAP', tmp_path)
    assert [path.name for path in drawn] == ['history.png'] == [path.name for path in tmp_path.iterdir()]
    assert missing == [
        'importance.png is not drawn: it needs two complete trials',
        'parallel_coordinate.png is not drawn: it needs two complete trials',
        'intermediate_values.png is not drawn: no trial was validated more than once',
    ]
    same = study_of((0.3, 1e-4, {}, {}), (0.3, 1e-3, {}, {}))
    assert 'importance.png is not drawn: all complete trials have the same value' in draw_plots(same, 'x', tmp_path)[1]
    assert 'history.png is not drawn: no trial is complete' in draw_plots(study_of(), 'x', tmp_path)[1]

    def fail(*args):
        raise RuntimeError('no\nfont')

    monkeypatch.setitem(plots.PLOTS, 'history', fail)
    assert draw_plots(same, 'x', tmp_path)[1][0] == 'history.png could not be drawn: RuntimeError: no font'
