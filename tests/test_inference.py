"""Answers in chunks are the answers of the whole."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from latentode import LatentODE
from latentode.frames import ask_rows
from latentode.inference import pieces
from latentode.inference.pieces import Queries, pieces_of
from latentode.sampling import named_generator, normal_draws
from latentode.spans import spans_of
from tests.made import zeros_of


def test_quasi_random_draws_are_standard_normal():
    draws = normal_draws(1024, 6, seed=3)
    # Scrambled Sobol points: the error of a mean falls like 1 / n, here about 1e-3.
    assert draws.mean(0).abs().max() < 5e-3
    assert (draws.var(0) - 1).abs().max() < 2e-2
    assert torch.equal(draws, normal_draws(1024, 6, seed=3))


def test_named_numbers_depend_on_name_and_seed_alone():
    one = named_generator("a", 0).standard_normal(4)
    assert np.array_equal(one, named_generator("a", 0).standard_normal(4))
    assert not np.array_equal(one, named_generator("b", 0).standard_normal(4))
    assert not np.array_equal(one, named_generator("a", 1).standard_normal(4))


def test_pieces_answer_every_query_of_short_series_once():
    contexts = zeros_of([5, 1000, 0, 200])
    asked = torch.cat([torch.linspace(-0.5, 1.5, n, dtype=torch.float64) for n in (7, 900, 3, 5000)])
    queries = Queries(asked, torch.tensor([0, 7, 907, 910, 5910]))
    found = pieces_of(contexts, queries, spans_of(contexts), most=2000)
    answered = torch.cat([torch.arange(first, last) for first, last in found[:, 2:4].tolist()])
    assert answered.sort().values.tolist() == [*range(7), *range(907, 5910)]
    for row, end, first, last, series in found.tolist():
        assert last - first <= 2000
        assert queries.starts[series] <= first < last <= queries.starts[series + 1]
        assert (row, end) == (contexts.starts[series], contexts.starts[series + 1])


def test_a_long_series_is_answered_everywhere():
    time = np.arange(700.0)
    frame = pd.DataFrame({"time": time, "x": np.sin(time / 5)}).set_index("time")
    frame.loc[300:320] = np.nan
    model = LatentODE(max_iter=3, residual="ou", random_state=0).fit(frame)
    found = model.predict(frame, level=90)
    assert np.isfinite(found.to_numpy()).all()
    assert found.index.equals(frame.index)
    shuffled = frame.sample(frac=1, random_state=0)
    again = model.predict(shuffled, level=90).loc[frame.index]
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-4)
    assert len(model.sample(frame, n_samples=2)) == 1400
    assert len(model.encode(frame)) == 1
    assert model.score_samples(frame).x.notna().sum() == frame.x.notna().sum()


def test_chunks_of_any_size_give_the_same_answers(fitted, frame, monkeypatch):
    whole = fitted.predict(frame, level=80)
    monkeypatch.setattr(pieces, "CHUNK_NUMBERS", 1)
    pd.testing.assert_frame_equal(fitted.predict(frame, level=80), whole, rtol=1e-4, atol=1e-3)
    monkeypatch.setattr(pieces, "MAX_QUERIES", 3)
    pd.testing.assert_frame_equal(fitted.predict(frame, level=80), whole, rtol=1e-4, atol=1e-3)


def test_quantiles_are_found_where_they_are_wanted(fitted, frame):
    table = fitted._read(frame)
    everywhere = ask_rows(table)
    wanted = np.random.default_rng(0).random(table.values.shape) < 0.3
    found, expected = (
        fitted._predict(table, questions, [50, 90], None, "mean")
        for questions in (replace(everywhere, wanted=wanted), everywhere)
    )
    for channel, name in enumerate(fitted.value_cols_):
        np.testing.assert_array_equal(found[name], expected[name])
        for bound in ("lo-50", "hi-50", "lo-90", "hi-90"):
            column = found[f"{name}-{bound}"]
            assert np.isnan(column[~wanted[:, channel]]).all()
            np.testing.assert_allclose(
                column[wanted[:, channel]], expected[f"{name}-{bound}"][wanted[:, channel]], rtol=1e-5
            )
