"""Wrote the files of this folder, once: a model, the frame it was asked about and what it answered.

    python -m tests.data.make_model

They must be read for ever, so they are not written again when the software changes; what makes another kind of file
gets one of its own beside them. model-1 is from before networks had shortcuts.
"""

from __future__ import annotations

import pandas as pd

from latentode import LatentODE
from tests.conftest import make_frame
from tests.data import FOLDER


def ask(model: LatentODE, frame: pd.DataFrame) -> pd.DataFrame:
    """Every number that a file's weights, residual, scaling and solver have a part in."""
    return model.predict(frame, times=[-1.0, 2.5, 7.0, 15.0], level=80)


if __name__ == "__main__":
    frame = make_frame(8, seed=3)
    model = LatentODE(
        "patient",
        "hours",
        residual=["ou", "matern32", "iou"],
        latent_dim=3,
        field_units=(8,),
        encoder_units=8,
        decoder_units=(8,),
        max_iter=60,
        n_samples=16,
        random_state=0,
    ).fit(frame)
    model.save(FOLDER / "model-1-shortcuts.latentode")
    frame.to_csv(FOLDER / "model-1-frame.csv", index=False)
    ask(model, frame).to_csv(FOLDER / "model-1-shortcuts-answers.csv", index=False)
