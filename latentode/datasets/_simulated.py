"""Series simulated from differential equations whose solutions are known to (nearly) all digits."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.integrate import solve_ivp

from latentode.datasets._long import long_frame

__all__ = ["make_lotka_volterra", "make_oscillator"]


def make_oscillator(
    n_series: int = 100,
    n_observed: int = 30,
    *,
    frequency: float = 1.0,
    damping: float = 0.1,
    horizon: float = 10.0,
    observe_until: float | None = None,
    noise: float = 0.1,
    missing: float = 0.0,
    n_truth: int = 201,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    r"""Damped oscillations seen at irregular times, and the clean ones.

        x'' = -frequency^2 x - 2 damping x',     w^2 = frequency^2 - damping^2
        x(t) = exp(-damping t) (x0 cos wt + (v0 + damping x0) / w sin wt)

    Each series has its own x0, v0 ~ N(0, 1) and its own times, uniform on [0, observe_until].

    Settings:
        frequency: undamped angular frequency, in radians per unit of time.
        damping: rate of decay; less than the frequency, so that it does oscillate.
        horizon: the truth covers [0, horizon].
        observe_until: end of the observations; the whole horizon by default.
        noise: standard deviation added to each observed value.
        missing: probability that an observed value is withheld (NaN); a row that loses all is left out.
        n_truth: the truth stands at so many equally spaced times.
        seed: fixes every draw.

    Gives:
        (observed, truth), columns series, time, position, velocity. Noise and missing values leave the times
        and the curves of a seed as they are: the same call with noise=0, missing=0 gives the clean values at
        the observed times.
    """
    if not 0 <= damping < frequency:
        raise ValueError(f"damping must be at least 0 and less than frequency={frequency}, not {damping}")
    w = np.sqrt(frequency**2 - damping**2)

    def solve(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
        x0, v0 = rng.normal(size=(2, len(times), 1))
        swing = (v0 + damping * x0) / w
        decay, cos, sin = np.exp(-damping * times), np.cos(w * times), np.sin(w * times)
        position = decay * (x0 * cos + swing * sin)
        velocity = decay * ((w * swing - damping * x0) * cos - (w * x0 + damping * swing) * sin)
        return np.stack([position, velocity], axis=-1)

    return _simulate(
        solve,
        ["position", "velocity"],
        n_series=n_series,
        n_observed=n_observed,
        horizon=horizon,
        observe_until=observe_until,
        noise=noise,
        missing=missing,
        n_truth=n_truth,
        seed=seed,
    )


def make_lotka_volterra(
    n_series: int = 100,
    n_observed: int = 30,
    *,
    birth: float = 1.0,
    predation: float = 1.0,
    growth: float = 1.0,
    death: float = 1.0,
    horizon: float = 15.0,
    observe_until: float | None = None,
    noise: float = 0.1,
    missing: float = 0.0,
    n_truth: int = 201,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    r"""Prey and predators seen at irregular times, and the clean cycles.

        prey' = birth * prey - predation * prey * predator
        predator' = growth * prey * predator - death * predator

    Each series starts at exp(N(0, 0.5^2)) times the fixed point (death / growth, birth / predation). Solved
    with DOP853 at a relative tolerance of 1e-12. The remaining arguments and what is returned are those of
    `make_oscillator`, the columns series, time, prey, predator. Noise is additive, so that an observed
    number near zero can be negative.
    """
    for name, rate in {"birth": birth, "predation": predation, "growth": growth, "death": death}.items():
        if not rate > 0:
            raise ValueError(f"{name} must be positive, not {rate}")

    def field(_: float, state: np.ndarray) -> np.ndarray:
        prey, predator = state.reshape(2, -1)
        return np.concatenate(
            [prey * (birth - predation * predator), predator * (growth * prey - death)],
        )

    def solve(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
        fixed_point = np.array([death / growth, birth / predation])
        start = fixed_point * np.exp(rng.normal(scale=0.5, size=(len(times), 2)))
        values = np.empty((*times.shape, 2))
        # Series solved together share their steps; in too large groups most of the output is thrown away.
        for group in np.array_split(np.arange(len(times)), -(-len(times) // 32)):
            ask, where = np.unique(times[group], return_inverse=True)
            solution = solve_ivp(
                field, (0.0, horizon), start[group].T.reshape(-1), "DOP853", ask, rtol=1e-12, atol=1e-14
            )
            states = solution.y.reshape(2, len(group), len(ask))
            where = where.reshape(len(group), -1)
            values[group] = np.take_along_axis(states, where[None], axis=2).transpose(1, 2, 0)
        return values

    return _simulate(
        solve,
        ["prey", "predator"],
        n_series=n_series,
        n_observed=n_observed,
        horizon=horizon,
        observe_until=observe_until,
        noise=noise,
        missing=missing,
        n_truth=n_truth,
        seed=seed,
    )


def _simulate(
    solve: Callable[[np.random.Generator, np.ndarray], np.ndarray],
    names: list[str],
    *,
    n_series: int,
    n_observed: int,
    horizon: float,
    observe_until: float | None,
    noise: float,
    missing: float,
    n_truth: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draws times, solves, adds noise, withholds; `solve` draws initial states: times (B, N) -> (B, N, D)."""
    observe_until = horizon if observe_until is None else observe_until
    for name, count in {"n_series": n_series, "n_observed": n_observed, "n_truth": n_truth}.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")
    if not 0 < observe_until <= horizon:
        raise ValueError(f"observe_until must lie in (0, horizon={horizon}], not {observe_until}")
    if not noise >= 0:
        raise ValueError(f"noise is a standard deviation and can't be {noise}")
    if not 0 <= missing < 1:
        raise ValueError(f"missing is a probability less than 1, not {missing}")

    rng = np.random.default_rng(seed)
    observed_at = np.sort(rng.uniform(0.0, observe_until, size=(n_series, n_observed)), axis=1)
    grid = np.tile(np.linspace(0.0, horizon, n_truth), (n_series, 1))
    clean = solve(rng, np.concatenate([observed_at, grid], axis=1))
    seen, truth = clean[:, :n_observed], clean[:, n_observed:]
    noisy = seen + rng.normal(scale=noise, size=seen.shape)
    noisy[rng.random(seen.shape) < missing] = np.nan
    observed = long_frame(observed_at, noisy, names).dropna(subset=names, how="all").reset_index(drop=True)
    return observed, long_frame(grid, truth, names)
