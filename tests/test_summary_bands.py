"""Whether bands hold what they say, counted and told by the summary."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from latentode.calibration import Calibration, Curves, HiddenScores, fit_calibration
from latentode.evaluation import count_coverage
from latentode.summary import summarize
from tests.made import scores


def test_coverage_is_counted_before_and_after_the_adjustment():
    hidden, series = scores(200, spread=2.0)
    table = count_coverage(
        hidden, series, channels=["a", "b"], tasks=["extrapolate", "interpolate"], adjusted=True
    )
    assert len(table) == 4
    assert table["n_values"].eq(2000).all()
    for level in (50, 80, 90, 95):
        bound = Normal(0.0, 1.0).icdf(torch.tensor(0.5 + level / 200))
        truth = 2 * float(Normal(0.0, 2.0).cdf(bound)) - 1
        # Four standard errors of a share of 2000 independent values.
        assert (table[f"own-{level}"] - truth).abs().max() < 4 * np.sqrt(truth * (1 - truth) / 2000)
        # The other half's quantile errs as much again.
        share = level / 100
        assert (table[f"adjusted-{level}"] - share).abs().max() < 6 * np.sqrt(share * (1 - share) / 2000)


def test_no_series_judges_bands_that_it_adjusted_itself():
    """Half of the series are ten times wilder: each half's bands are then those of the other half."""
    hidden, series = scores(80, spread=1.0)
    wild = replace(hidden, score=hidden.score * np.where(series % 2, 10.0, 1.0))
    table = count_coverage(wild, series, channels=["a", "b"], tasks=["extrapolate"], adjusted=True)
    # The calm half lies within the wild one's bands, and of the wild half P(|Z| < 1.645 / 10) does.
    expected = 0.5 + 0.5 * (2 * float(Normal(0.0, 1.0).cdf(torch.tensor(0.1645))) - 1)
    assert np.abs(table["adjusted-90"] - expected).max() < 0.02


@pytest.mark.parametrize("n_series", [21, 24, 39])
def test_with_few_series_bands_are_adjusted_by_more_than_half_of_the_others(n_series):
    """One of them is a thousand times wilder: no other kind of fold would leave it out of its own bands."""
    hidden, series = scores(n_series, spread=1.0)
    wild = replace(hidden, score=hidden.score * np.where(series == 5, 1e3, 1.0))
    table = count_coverage(wild, series, channels=["a", "b"], tasks=["extrapolate"], adjusted=True)
    assert table["adjusted-95"].lt(1 - 0.9 / n_series).all()
    assert table["adjusted-90"].gt(0.8).all()


def test_with_no_series_to_spare_bands_are_not_judged_as_adjusted():
    hidden, series = scores(20, spread=1.0)
    table = count_coverage(hidden, series, channels=["a", "b"], tasks=["extrapolate"], adjusted=True)
    assert table["adjusted-90"].isna().all()
    assert table["own-90"].notna().all()


def test_bands_that_do_not_hold_are_remarked_on(fitted_to_swings):
    fitted, parameters = fitted_to_swings.fitted_, fitted_to_swings.fit_parameters_
    coverage = fitted.verdict.coverage.assign(
        **{"own-90": [0.9, 0.7, 0.9, 0.99], "own-90-error": 0.05, "n_values": [500, 500, 500, 50]}
    )
    spoilt = replace(fitted, calibration=None, verdict=replace(fitted.verdict, coverage=coverage))
    remarks = summarize(spoilt, parameters).remarks
    assert "velocity, to extrapolate: 90 % bands hold 70 % of the withheld values, too narrow" in remarks
    assert not any("wide" in remark for remark in remarks)  # of fifty values nobody can tell
    for error in (0.16, np.nan):  # nor where series differ so much, or are too few to say by how much they do
        unsure = replace(
            spoilt, verdict=replace(fitted.verdict, coverage=coverage.assign(**{"own-90-error": error}))
        )
        assert not any("bands hold" in remark for remark in summarize(unsure, parameters).remarks)


def test_bands_that_are_not_adjusted_are_remarked_on(fitted_to_swings):
    fitted, parameters = fitted_to_swings.fitted_, fitted_to_swings.fit_parameters_
    one, ahead, number = np.ones(1), np.zeros(1, dtype=bool), np.zeros(1, dtype=np.int64)
    far_out = HiddenScores(3 * one, one, ahead, number, number, one, one, one, number)
    widened = fit_calibration(far_out, number, 2)
    takes = "adjusting them by lead time and channel takes 20 withheld series"
    for calibration, told in [
        (
            None,
            f"bands are the model's own, which were not too narrow on the 9 withheld series; {takes}",
        ),
        (widened, f"bands are widened 1.9 times, by how narrow they were on the 9 withheld series; {takes}"),
    ]:
        adjusted = replace(fitted, calibration=calibration)
        remarks = summarize(adjusted, parameters).remarks
        assert remarks.count(told) == 1
        farthest = fitted.verdict.validation.table.query("task == 'extrapolate' and lead != 'all'")[
            "lead"
        ].iloc[0]
        assert farthest.startswith("up to ")
        assert (
            f"forecasts were tried {farthest} ahead; of errors and bands farther ahead nothing is known"
            in remarks
        )
        unasked = summarize(adjusted, parameters | {"calibrate": False}).remarks
        assert not any("adjusting them" in remark for remark in unasked)
    hardly = replace(fitted, calibration=Calibration(Curves.widened(2, 1.02), Curves.widened(2, 1.02)))
    assert "bands are hardly widened, by how narrow they were on the 9 withheld" in str(
        summarize(hardly, parameters)
    )
    by_rows = replace(fitted, verdict=replace(fitted.verdict, withheld="rows"), calibration=widened)
    assert "by how narrow they were on the rows withheld of few series" in str(summarize(by_rows, parameters))


def test_bands_that_few_series_widened_are_judged_as_they_were_before(fitted_to_swings):
    fitted, parameters = fitted_to_swings.fitted_, fitted_to_swings.fit_parameters_
    coverage = fitted.verdict.coverage.assign(
        **{"own-90": 0.6, "own-90-error": 0.02, "adjusted-90": np.nan, "n_values": 500}
    )
    narrow = replace(
        fitted,
        verdict=replace(fitted.verdict, coverage=coverage),
        calibration=Calibration(Curves.widened(2, 1.5), Curves.widened(2, 1.5)),
    )
    told = "90 % bands hold 60 % of the withheld values before they were widened, too narrow"
    assert sum(told in remark for remark in summarize(narrow, parameters).remarks) == len(coverage)
