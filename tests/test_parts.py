"""Trajectory, residual and regression apart: what `parts=True` tells."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from latentode import LatentODE
from latentode.answers import PARTS
from latentode.plotting import plot_trajectories


def test_parts_sum_to_the_mean(fitted, frame):
    found = fitted.predict(frame, parts=True, level=80)
    pd.testing.assert_frame_equal(
        found[fitted.predict(frame, level=80).columns], fitted.predict(frame, level=80)
    )
    for name in fitted.value_cols_:
        whole = sum(found[f"{name}-{part}"].astype(float) for part in PARTS)
        np.testing.assert_allclose(whole, found[name].astype(float), rtol=1e-5)
    ahead = fitted.forecast(frame, 5.0, 3, parts=True)
    whole = sum(ahead[f"hr-{part}"] for part in PARTS)
    np.testing.assert_allclose(whole, ahead["hr"], rtol=1e-5)


def test_parts_of_an_array_are_a_frame():
    values = np.sin(np.arange(120.0) / 4)[:, None]
    model = LatentODE(residual="ou", max_iter=3, random_state=0).fit(values)
    assert model.predict(values, parts=True).columns.tolist()[-3:] == [f"0-{part}" for part in PARTS]


def test_the_trajectory_is_drawn(fitted, frame):
    ax = plot_trajectories(fitted, frame, series="p0", channels="hr", parts=True, n_samples=0)
    (line,) = [line for line in ax.lines if line.get_label() == "trajectory"]
    own = frame[frame["patient"] == "p0"]
    asked = fitted.predict(own, times=line.get_xdata(), parts=True)
    np.testing.assert_allclose(line.get_ydata(), asked["hr-trajectory"], rtol=1e-6)
    assert "trajectory" in [text.get_text() for text in ax.figure.legends[0].get_texts()]
    plt.close(ax.figure)
