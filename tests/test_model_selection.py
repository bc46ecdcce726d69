"""The example that searches over series runs, and chooses by series it did not train on."""

import pandas as pd
import pytest

from examples import model_selection


@pytest.mark.slow
def test_the_quick_run_writes_its_table_and_figure(tmp_path, capsys):
    model_selection.main(["--quick", "--out", str(tmp_path)])
    table = pd.read_csv(tmp_path / "scores.csv")
    assert len(table) == 4
    assert table.filter(like="split").notna().all().all()
    assert (tmp_path / "model_selection.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "4 candidates, 3 folds of 12 series" in printed
    assert "series that had no part in the choice" in printed


def test_no_series_is_both_chosen_by_and_tested_on():
    train, test, truth = model_selection.make_data(quick=True)
    assert not set(train["series"]) & set(test["series"])
    assert set(test["series"]) == set(truth["series"])
