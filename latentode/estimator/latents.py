"""Questions in the latent space: z0, its orbit, and the field that carries it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from latentode.estimator.reading import Reading, lay_out
from latentode.frames import answers_in_kind, ask_rows, ask_times, in_kind, to_pandas

__all__ = ["Latents"]


class Latents(Reading):
    """The state behind the channels. Needs of its host what `Reading` names."""

    @answers_in_kind
    def encode(self, X: Any) -> pd.DataFrame:
        """Mean and standard deviation of q(z0 | series): one row per series, columns z0_1.. and z0_1_std..

        What static columns tell of a series is in them.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        values = self._answers.encode(table)
        names = _latent_names(values.shape[1] // 2, "z0")
        columns = [*names, *(f"{name}_std" for name in names)]
        index = table.ids if table.roles.is_single else table.ids.rename(table.roles.id_name)
        return pd.DataFrame(values, index=index, columns=columns)

    @answers_in_kind
    def latent(self, X: Any, times: Any = None) -> pd.DataFrame:
        """z(t) along the orbit through the posterior mean of z0: columns z_1.. in place of the channels.

        A long series has an orbit for each of its spans: the one of most weight answers, so that z(t) jumps half-way
        between two, where the channels, of which both have a part, do not.

        Args:
            times: as in `predict`.
        """
        check_is_fitted(self, "module_")
        table = self._read(X)
        questions = ask_rows(table) if times is None else ask_times(table, times)
        states = self._answers.latent(table, questions)
        names = _latent_names(states.shape[1])
        taken = [name for name in names if name in table.roles.key_columns]
        if taken:
            raise ValueError(f"a column is called {taken[0]!r}, as one of the answer's is; rename it first")
        return lay_out(table, questions, dict(zip(names, states.T, strict=True)), {})

    def velocity(self, Z: Any) -> Any:
        """The learned vector field dz/dt = f(z) at latent states, per unit of numeric times or per second.

        Args:
            Z: an array whose last axis holds the L coordinates, or a frame with columns z_1..z_L such as
                `latent` answers with, or z0_1..z0_L, such as `encode` does.

        Returns:
            An array of the shape of Z; of a frame, one of its library with its index and columns z_1..z_L.

        Raises:
            ValueError: for states of another dimension than the model's.
        """
        check_is_fitted(self, "module_")
        names = _latent_names(self.module_.encoder.latent_dim)
        given, Z = Z, to_pandas(Z)
        if isinstance(Z, pd.DataFrame):
            initial = _latent_names(len(names), "z0")
            own = initial if set(initial) <= set(Z.columns) else names
            missing = [name for name in own if name not in Z.columns]
            if missing:
                raise ValueError(f"Z lacks the columns {missing}; a frame of states has {names}")
            found = self._answers.velocity(Z[own].to_numpy(dtype=np.float64))
            return in_kind(given, pd.DataFrame(found, index=Z.index, columns=names))
        states = np.asarray(Z, dtype=np.float64)
        if not states.ndim or states.shape[-1] != len(names):
            raise ValueError(
                f"Z has shape {states.shape}, but the last axis of states holds the model's {len(names)} "
                "latent coordinates"
            )
        return self._answers.velocity(states)


def _latent_names(latent_dim: int, of: str = "z") -> list[str]:
    return [f"{of}_{number + 1}" for number in range(latent_dim)]
