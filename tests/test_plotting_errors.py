"""Pictures of an evaluation show the numbers of its table."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from latentode import LatentODE
from latentode.evaluation import RIVALS
from latentode.plotting import plot_calibration, plot_errors
from latentode.plotting.errors import _look
from tests.conftest import make_frame

pytestmark = pytest.mark.usefixtures("clean_desk")

PREDICTORS = ["latent ODE", "last value", "series mean"]
LEVELS = (50.0, 90.0)


def evaluation(dated=False, levels=LEVELS):
    rows = []
    for task in ("extrapolate", "interpolate"):
        for c, channel in enumerate(["hr", "temp"]):
            for lead, mean in [("up to 6", 3.0), ("6 to 12", 9.0), ("all", 6.0)]:
                for p, predictor in enumerate(PREDICTORS):
                    error = 1.0 + c + p + mean / 10 + 5 * (task == "interpolate")
                    row = {
                        "task": task,
                        "channel": channel,
                        "lead": lead,
                        "lead_mean": pd.Timedelta(hours=mean) if dated else mean,
                        "predictor": predictor,
                        "rmse": error,
                        "rmse-lo": error - 0.2,
                        "rmse-hi": error + 0.3,
                        "mae": error / 2,
                        "mae-lo": np.nan,
                        "mae-hi": np.nan,
                    }
                    for level in levels:
                        row[f"coverage-{level:g}"] = level / 100 - mean / 100 if p == 0 else np.nan
                    rows.append(row)
    return SimpleNamespace(
        table=pd.DataFrame(rows)
        .sample(frac=1, random_state=0)
        .sort_values("predictor", key=lambda c: c.map(PREDICTORS.index), kind="stable"),
        levels=levels,
    )


def line(ax, label):
    return next(drawn for drawn in ax.lines if drawn.get_label() == label)


@pytest.mark.parametrize("dated", [False, True])
def test_errors_stand_at_their_lead_times(dated):
    axes = plot_errors(evaluation(dated), task="extrapolate", channels=["hr", "temp"])
    for c, (ax, name) in enumerate(zip(axes, ["hr", "temp"], strict=True)):
        assert ax.get_title() == name
        for p, predictor in enumerate(PREDICTORS):
            drawn = line(ax, predictor)
            np.testing.assert_allclose(drawn.get_xdata(), [3.0, 9.0])
            np.testing.assert_allclose(drawn.get_ydata(), [1 + c + p + 0.3, 1 + c + p + 0.9])
        assert ax.get_xlabel() == ("lead time, hours" if dated else "lead time")
    assert axes[0].get_ylabel() == "root mean square error"
    assert [text.get_text() for text in axes[0].figure.legends[0].get_texts()] == PREDICTORS


def test_rivals_of_a_task_are_told_apart_and_look_the_same_in_the_other():
    looks = {
        task: {name: _look(name, number) for number, name in enumerate(names, start=1)}
        for task, names in RIVALS.items()
    }
    for of_task in looks.values():
        assert len({colour for colour, _ in of_task.values()}) == len(of_task)
        assert len({str(dashes) for _, dashes in of_task.values()}) == len(of_task)
    for name in set(RIVALS["extrapolate"]) & set(RIVALS["interpolate"]):
        assert looks["extrapolate"][name] == looks["interpolate"][name]


def test_errors_of_one_bin_stand_side_by_side():
    whole = evaluation()
    one = SimpleNamespace(table=whole.table[whole.table["lead"] != "6 to 12"], levels=LEVELS)
    axes = plot_errors(one, task="extrapolate", channels=["hr", "temp"])
    assert [text.get_text() for text in axes[0].get_xticklabels()] == PREDICTORS
    for p in range(len(PREDICTORS)):
        dot, _, (bar,) = axes[1].containers[p]
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (p, pytest.approx(2 + p + 0.3))
        np.testing.assert_allclose(bar.get_segments()[0][:, 1], [2 + p + 0.1, 2 + p + 0.6])
    assert not axes[0].figure.legends


def test_what_errs_beyond_the_frame_of_one_bin_is_told_by_its_number():
    table = evaluation().table.query("lead != '6 to 12'")
    hopeless = table["predictor"] == "last value"
    errors = table[["rmse", "rmse-lo", "rmse-hi"]].mask(hopeless, 500.0)
    one = SimpleNamespace(table=table.assign(**errors), levels=LEVELS)
    ax = plot_errors(one, task="extrapolate", channels="hr")
    assert ax.get_ylim()[1] < 10
    assert [text.get_text() for text in ax.texts] == ["↑ 500"]


def test_the_shade_is_the_models_interval():
    ax = plot_errors(evaluation(), task="extrapolate", channels="hr")
    vertices = ax.collections[0].get_paths()[0].vertices
    assert vertices[:, 1].min() == pytest.approx(1.3 - 0.2)
    assert vertices[:, 1].max() == pytest.approx(1.9 + 0.3)


def test_a_hopeless_rival_does_not_flatten_the_others():
    hopeless = evaluation()
    hopeless.table.loc[hopeless.table["predictor"] == "series mean", ["rmse", "rmse-lo", "rmse-hi"]] *= 100
    low, high = plot_errors(hopeless, task="extrapolate", channels="hr").get_ylim()
    assert (low, high) == (0, pytest.approx(2.5 * 2.9))  # 2.5 times the largest error of the best rival
    assert plot_errors(evaluation(), task="extrapolate", channels="hr").get_ylim()[1] > 3.9 + 0.3


def test_metric_and_task_are_chosen_and_intervals_may_lack():
    ax = plot_errors(evaluation(), metric="mae", task="interpolate", channels="temp")
    np.testing.assert_allclose(line(ax, "latent ODE").get_ydata(), [(7 + 0.3) / 2, (7 + 0.9) / 2])
    assert ax.get_ylabel() == "mean absolute error"


def test_calibration_holds_bands_against_the_truth():
    axes = plot_calibration(evaluation(), task="extrapolate")
    for ax in axes:
        np.testing.assert_allclose(ax.lines[0].get_xdata(), ax.lines[0].get_ydata())  # the diagonal
        np.testing.assert_allclose(line(ax, "up to 6").get_ydata(), [47, 87])
        np.testing.assert_allclose(line(ax, "6 to 12").get_ydata(), [41, 81])
        np.testing.assert_allclose(line(ax, "6 to 12").get_xdata(), LEVELS)


def test_pictures_keep_to_given_axes():
    _, axes = plt.subplots(2)
    assert (plot_errors(evaluation(), ax=axes) == axes).all()
    _, ax = plt.subplots()
    assert plot_calibration(evaluation(), channels="hr", ax=ax) is ax
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize(
    ("draw", "settings", "message"),
    [
        (plot_errors, {"metric": "crps"}, "metric must be one of 'rmse', 'mae'"),
        (plot_errors, {"task": "both"}, "task must be one of"),
        (plot_calibration, {"channels": "pulse"}, "channel 'pulse' is not in the data"),
    ],
)
def test_mistakes_are_named(draw, settings, message):
    with pytest.raises(ValueError, match=message):
        draw(evaluation(), **settings)


@pytest.mark.parametrize("draw", [plot_errors, plot_calibration])
@pytest.mark.parametrize(
    ("given", "kind"), [(make_frame(), "DataFrame"), (evaluation().table, "DataFrame"), (None, "NoneType")]
)
def test_anything_but_an_evaluation_is_refused(draw, given, kind):
    with pytest.raises(TypeError, match=rf"what model.evaluate\(...\) returned; got a {kind}"):
        draw(given)


def test_bands_and_axes_that_lack_are_named():
    with pytest.raises(ValueError, match="the evaluation has no bands"):
        plot_calibration(evaluation(levels=()))
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="ax holds 1 Axes, but 2 channels"):
        plot_errors(evaluation(), ax=ax)


def test_a_real_evaluation_is_drawn():
    model = LatentODE("patient", "hours", ["hr", "temp"], residual=None, max_iter=2, random_state=0)
    model.fit(make_frame())
    found = model.evaluate(make_frame(n_series=8, seed=3), task="extrapolate", level=[50, 90], n_bootstrap=20)
    ours = found.table[(found.table["predictor"] == "latent ODE") & (found.table["lead"] != "all")]
    for ax, name in zip(plot_errors(found), ["hr", "temp"], strict=True):
        rows = ours[ours["channel"] == name].sort_values("lead_mean")
        np.testing.assert_allclose(line(ax, "latent ODE").get_ydata(), rows["rmse"])
    for ax, name in zip(plot_calibration(found), ["hr", "temp"], strict=True):
        rows = ours[ours["channel"] == name].set_index("lead")
        for lead in rows.index:
            expected = 100 * rows.loc[lead, ["coverage-50", "coverage-90"]].to_numpy(dtype=float)
            np.testing.assert_allclose(line(ax, lead).get_ydata(), expected)
