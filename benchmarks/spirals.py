"""Spirals: error and coverage between and beyond the observations, beside rivals and the Bayes-optimal answer.

    python -m benchmarks.spirals [--quick] [--seeds 0 1 2] [--n 30 50 100] [--validation] [--merge] [--out FILE]

The task is `benchmarks.spiral_task`: 1000 series of which 30, 50 or 100 noisy points were observed. Each n and
seed has its own data and one model of default settings, which answers both questions. Bands are those of the
noiseless path, quantiles of `sample(observation_noise=False)`, and coverage is that of the clean curve.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks import spiral_task
from benchmarks.record import Record, parse_arguments, spread_table
from latentode import LatentODE

SERIES_AT_ONCE = 100  # 100 paths of 200 points each: 2 million rows


def make_model(random_state: int = 0, **settings: object) -> LatentODE:
    """The defaults; one model interpolates and extrapolates."""
    return LatentODE(id_col="series", time_col="time", random_state=random_state, **settings)


def answers(
    model: LatentODE, asked: spiral_task.Spirals, n_paths: int = 100
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Posterior mean at points 0..199 and the 90 % band of the noiseless path, (B, 200, 2) each."""
    means, lows, highs = [], [], []
    for first in range(0, len(asked.times), SERIES_AT_ONCE):
        frame = asked.frame[asked.frame["series"].between(first, first + SERIES_AT_ONCE - 1)]
        B = frame["series"].nunique()
        mean = model.predict(frame, spiral_task.TIMES)
        means.append(mean[spiral_task.CHANNELS].to_numpy().reshape(B, -1, 2))
        paths = model.sample(frame, spiral_task.TIMES, n_samples=n_paths, observation_noise=False)
        values = paths[spiral_task.CHANNELS].to_numpy().reshape(B, n_paths, -1, 2)
        low, high = np.quantile(values, [0.05, 0.95], axis=1)
        lows.append(low)
        highs.append(high)
    return np.concatenate(means), (np.concatenate(lows), np.concatenate(highs))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, nargs="+", help="observed points, of 30 50 100")
    chosen = parse_arguments(__doc__, file=__file__, parser=parser)
    split = "validation" if chosen.validation else "test"
    counts = chosen.n or ([30] if chosen.quick else spiral_task.N_OBSERVED)
    n_train, n_asked = (40, 20) if chosen.quick else (None, None)

    record = Record(
        chosen.out, {"scored_on": split, "quick": chosen.quick}, ["n_observed", "seed"], merge=chosen.merge
    )
    for n in counts:
        for seed in chosen.seeds:
            train = spiral_task.load(n, split="train", seed=seed, n_series=n_train)
            asked = spiral_task.load(n, split=split, seed=seed, n_series=n_asked)
            rows = {
                name: spiral_task.scores(
                    asked.clean, found["predicted"], (found["low"], found["high"]) if "low" in found else None
                )
                for name, found in spiral_task.predictions_of_rivals(train, asked).items()
            }
            began = time.process_time()
            model = make_model(seed, **({"max_iter": 20} if chosen.quick else {})).fit(train.frame)
            fitted = time.process_time()
            rows["latent ODE"] = spiral_task.scores(asked.clean, *answers(model, asked))
            record.add(
                {
                    "n_observed": n,
                    "seed": seed,
                    "cpu_minutes": (fitted - began) / 60,
                    "cpu_minutes_of_answers": (time.process_time() - fitted) / 60,
                    "n_iter": model.n_iter_,
                    "residual": model.residual_,
                    "rows": rows,
                }
            )
            ours = {name: round(value, 4) for name, value in rows["latent ODE"].items()}
            print(f"n={n} seed={seed}: {(fitted - began) / 60:.1f} CPU min, {model.n_iter_} steps, {ours}")

    scores = record.scores()
    covers = scores["score"].str.endswith("_coverage")
    print(f"\nRMSE on {split} data against the clean curve, by part and number of observed points")
    print(spread_table(scores[~covers], ["score", "n_observed"], ours="latent ODE", decimals=4).to_string())
    for name, (first, second, third) in spiral_task.PUBLISHED.items():
        print(f"{name}: {first} {second} {third} at 30, 50, 100 of 100")
    print("\nshare of the clean curve inside the 90 % band of the noiseless path")
    print(spread_table(scores[covers], ["score", "n_observed"], ours="latent ODE", decimals=3).to_string())
    print(f"\n{record.summary()}")


if __name__ == "__main__":
    main()
