"""What an evaluation makes of its errors: intervals over series, and words."""

import numpy as np
import pytest

from latentode.evaluation import Evaluation, Scope
from latentode.evaluation.bins import LeadBins
from latentode.evaluation.report import is_off
from latentode.evaluation.tally import MODEL, Tally, share_error

# ---------------------------------------------------------------- intervals


def tally_of(ours, theirs):
    """Errors (S, n) of two predictors in one bin of one channel."""
    n_series, n_values = ours.shape
    tally = Tally(n_series, LeadBins(np.array([1.0]), "number"), ["x"], [MODEL, "rival"], [])
    series = np.arange(n_series).repeat(n_values)
    truth = np.zeros((ours.size, 1))
    errors = {MODEL: ours.reshape(-1, 1), "rival": theirs.reshape(-1, 1)}
    tally.add(series, np.full(ours.size, 0.5), truth, errors, {})
    return tally


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(0)
    held = []
    for _ in range(200):
        # A series' errors share half of their variance, and two predictors' theirs.
        shared = random.normal(size=(60, 1)) + random.normal(size=(60, 6))
        ours = 0.8 * (shared + random.normal(size=(60, 6)))
        theirs = shared + random.normal(size=(60, 6))
        table = tally_of(ours, theirs).table("extrapolate", 300, np.random.default_rng(1))
        row = table[table.predictor == "rival"].iloc[0]
        held.append(row["skill-lo"] < 0.2 < row["skill-hi"])
    # 90 % of 200, give or take four standard deviations (2.1 %), less a little for 60 series.
    assert 0.80 < np.mean(held) < 0.985


def test_the_error_of_a_share_is_that_between_series():
    """Of simulated series whose own values are alike, and of independent ones the binomial's."""
    random = np.random.default_rng(0)
    counts = random.integers(5, 40, (300, 2000)).astype(float)
    p = random.beta(4, 1, counts.shape)  # of each series; its mean is 0.8
    inside = random.binomial(counts.astype(int), p)
    shares = inside.sum(0) / counts.sum(0)
    np.testing.assert_allclose(share_error(inside, counts).mean(), shares.std(), rtol=0.05)
    alone = random.binomial(1, 0.9, (400, 2000)).astype(float)
    np.testing.assert_allclose(share_error(alone, np.ones_like(alone)).mean(), 0.3 / 20, rtol=0.02)
    assert np.isnan(share_error(alone[:4], np.ones((4, 2000)))).all()
    assert share_error(np.full((9, 1), 3.0), np.full((9, 1), 3.0)) == 0


def test_the_same_errors_have_no_skill_and_no_doubt():
    errors = np.random.default_rng(0).normal(size=(20, 5))
    table = tally_of(errors, errors).table("extrapolate", 100, np.random.default_rng(0))
    row = table[table.predictor == "rival"].iloc[0]
    assert row[["skill", "skill-lo", "skill-hi"]].tolist() == [0.0, 0.0, 0.0]
    assert row["rmse-lo"] < row.rmse < row["rmse-hi"]


def test_series_are_drawn_not_values():
    # Errors equal within a series: a thousand values of ten series are worth ten.
    one = np.random.default_rng(0).normal(size=(10, 1))
    few, many = (
        tally_of(errors, errors).table("extrapolate", 2000, np.random.default_rng(0))
        for errors in (one, one.repeat(100, axis=1))
    )
    np.testing.assert_allclose(few[["rmse-lo", "rmse-hi"]], many[["rmse-lo", "rmse-hi"]])


# ---------------------------------------------------------------- words


def report_of(errors, n_series=40, n_values=30, level=(90,), inside=0.9):
    """A report on predictors of given errors, in a bin for each number."""
    random = np.random.default_rng(0)
    n_bins = len(errors[MODEL])
    bins = LeadBins(24.0 * np.arange(1, n_bins + 1), "number")
    tally = Tally(n_series, bins, ["potassium"], list(errors), list(level))
    for place in range(n_bins):
        series = np.arange(n_series).repeat(n_values)
        noise = random.normal(size=(series.size, 1))
        predictions = {name: error[place] * noise for name, error in errors.items()}
        half = np.where(np.arange(series.size) % 100 < 100 * inside, 99.0, -99.0)[:, None]
        tally.add(
            series,
            np.full(series.size, 24 * place + 12.0),
            np.zeros((series.size, 1)),
            predictions,
            dict.fromkeys(level, (-half, half)),
        )
    table = tally.table("extrapolate", 100, random)
    return Evaluation(table, {"extrapolate": Scope(n_series, 0, n_series, 2)}, tuple(level))


def test_it_says_where_it_does_not_win():
    report = report_of({MODEL: [1.0, 1.0], "last value": [1.3, 0.8], "ridge": [2.0, 0.9]})
    said = report.verdict("extrapolate")
    assert said[0] == (
        "With 90 % confidence the latent ODE beats the last value in 1, ridge in 1 and all of them in 1 of 2 "
        "combinations of channel and lead time."
    )
    assert said[1] == "Where it does not:"
    assert said[2].startswith("  potassium, 24 to 48: loses to the last value (RMSE ")
    assert said[2].endswith("skill -25 % [-25, -25]); nor does it beat ridge")
    assert len(said) == 3
    assert "MAE" in report.summary("mae")


def test_a_tie_is_no_win():
    said = report_of({MODEL: [1.0], "last value": [1.0]}).verdict("extrapolate")
    assert "beats the last value in 0 of 1 channels" in said[0]
    assert "does not beat the last value" in said[2]
    assert "skill 0 % [0, 0]" in said[2]


def test_bands_that_are_off_are_named():
    rivals = {MODEL: [1.0], "last value": [2.0]}
    narrow = report_of(rivals, inside=0.7).verdict("extrapolate")
    assert narrow[-2:] == ["Bands that are off:", "  potassium, up to 24: 90 % bands hold 70 %, too narrow"]
    wide = report_of(rivals, inside=1.0).verdict("extrapolate")
    assert wide[-1].endswith("90 % bands hold 100 %, too wide")
    assert len(report_of(rivals).verdict("extrapolate")) == 1


def test_of_few_series_bands_are_said_to_be_off_by_far_only():
    rivals = {MODEL: [1.0], "last value": [2.0]}
    slightly, far = (
        report_of(rivals, n_series=4, n_values=50, inside=share).verdict("extrapolate")
        for share in (0.7, 0.6)
    )
    assert not any("Bands" in line for line in slightly)
    assert far[-1].endswith("90 % bands hold 60 %, too narrow")


@pytest.mark.parametrize(
    ("share", "error", "off"),
    [(0.8, 0.05, True), (0.8, 0.07, False), (0.97, 0.018, True), (0.97, 0.03, False), (0.86, 0.001, False)],
)
def test_errors_of_a_share_are_those_of_bands_that_are_right(share, error, off):
    """2 x 0.05 sqrt(.09 / .16) is less than 0.1 and 2 x 0.07 of it more; 2 x 0.018 sqrt(.09 / .0291) less than .07."""
    assert is_off(share, error, 0.9, 1000) == off
    assert not is_off(share, error, 0.9, 99)


def test_leads_that_are_off_together_only_are_named_together():
    report = report_of({MODEL: [1.0, 1.0], "last value": [2.0, 2.0]}, inside=0.8)
    report.table["coverage-90-error"] = np.where(report.table["lead"] == "all", 0.01, 0.2)
    assert report.verdict("extrapolate")[-1] == "  potassium: 90 % bands hold 80 %, too narrow"


def test_a_rival_without_error_is_no_division_by_zero():
    said = report_of({MODEL: [1.0], "last value": [0.0]}).verdict("extrapolate")
    assert said[2].startswith("  potassium, up to 24: loses to the last value (RMSE ")
    assert said[2].endswith("against 0)")


def test_a_rival_next_to_without_error_makes_no_skill_of_many_digits():
    said = report_of({MODEL: [1.0], "last value": [1e-9]}).verdict("extrapolate")
    assert "skill below -999 % [below -999, below -999])" in said[2]


def test_of_too_few_series_in_a_cell_no_confidence_is_told():
    """Six series hold the first channel, two the second: intervals are of the first alone."""
    random = np.random.default_rng(0)
    tally = Tally(6, LeadBins(np.array([1.0]), "number"), ["x", "y"], [MODEL, "rival"], [])
    truth = np.zeros((60, 2))
    truth[20:, 1] = np.nan
    errors = {MODEL: 0.1 * random.normal(size=(60, 2)), "rival": random.normal(size=(60, 2))}
    tally.add(np.arange(6).repeat(10), np.full(60, 0.5), truth, errors, {})
    table = tally.table("extrapolate", 100, random)
    ends = ["rmse-lo", "rmse-hi", "mae-lo", "mae-hi"]
    assert table.loc[table.channel == "x", ends].notna().all(axis=None)
    assert table.loc[table.channel == "y", ends].isna().all(axis=None)
    report = Evaluation(table, {"extrapolate": Scope(6, 0, 6, 2)}, ())
    assert report.verdict("extrapolate") == [
        "With 90 % confidence the latent ODE beats rival in 1 of 1 channels. "
        "Too few series hold values of 1 more to tell."
    ]
    without = Evaluation(tally.table("extrapolate", 0, random), report.scopes, ())
    assert without.verdict("extrapolate") == [
        "Without intervals the latent ODE beats rival in 2 of 2 channels."
    ]
