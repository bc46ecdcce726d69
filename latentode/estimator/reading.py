"""What all questions share: a frame read by the fitted schema, and an answer laid out as its frame is."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentode._checks import check_choice, check_levels, check_number
from latentode.answers import PARTS, Answers
from latentode.fitting import Fitted
from latentode.frames import (
    Questions,
    Roles,
    Scaling,
    SeriesTable,
    answer,
    answer_rows,
    float_dtype,
    read_frame,
)
from latentode.model import LatentODEModel

__all__ = ["Reading", "lay_out"]


class Reading:
    """Between a host's frames and the answers of its fit.

    Needs of its host the parameters and the attributes of the fit that are named here.
    """

    id_col: Hashable | None
    time_col: Hashable | None
    n_samples: int
    device: str

    fitted_: Fitted
    module_: LatentODEModel
    scaling_: Scaling
    value_cols_: list[Hashable]
    n_features_in_: int

    @property
    def _answers(self) -> Answers:
        return Answers(self.fitted_, self.device)

    def _read(self, X: Any) -> SeriesTable:
        """Reads a frame by the fitted schema: the same channels, static columns and kind of time."""
        if isinstance(X, (np.ndarray, list)):
            shape = np.shape(X)
            if len(shape) == 2 and shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has {shape[1]} features, but LatentODE is expecting {self.n_features_in_} "
                    "features as input"
                )
        roles = self.fitted_.roles
        if isinstance(X, pd.DataFrame) and X.index.nlevels < 2:
            if not roles.is_single and self.id_col is None:
                _refuse_columns_for_levels(X, roles)
            elif self.time_col is None and roles.time_level is not None:
                _check_clock(X, roles, self.fitted_.clock.kind)
        return read_frame(
            X,
            id_col=self.id_col,
            time_col=self.time_col,
            value_cols=self.value_cols_,
            static_cols=roles.static_cols,
            like=self.fitted_.clock,
            statics=self.fitted_.statics,
            fitted=roles,
        )

    def _predict(
        self,
        table: SeriesTable,
        questions: Questions,
        level: Any,
        n_samples: int | None,
        point: str,
        *,
        parts: bool = False,
        answers: Answers | None = None,
    ) -> dict[Hashable, np.ndarray]:
        levels = check_levels(level)
        self._check_names(table, levels, parts=parts)
        check_number("n_samples", n_samples, integer=True, optional=True)
        check_choice("point", point, ("mean", "median"))
        if parts and point != "mean":
            raise ValueError(
                f"parts=True splits the mean, and point={point!r} asks for another answer; leave out one"
            )
        return (answers or self._answers).predict(
            table, questions, levels, n_samples or self.n_samples, point, parts=bool(parts)
        )

    def _check_names(self, table: SeriesTable, levels: Sequence[float], *, parts: bool) -> None:
        taken = {*self.value_cols_, *table.roles.key_columns}
        for name in self.value_cols_:
            for level in dict.fromkeys(levels):
                for band in (f"{name}-lo-{level:g}", f"{name}-hi-{level:g}"):
                    if band in taken:
                        raise ValueError(
                            f"a column is called {band!r}, as the band of column {name!r} is; rename it first"
                        )
                    taken.add(band)
            for part in [f"{name}-{part}" for part in PARTS] if parts else ():
                if part in taken:
                    raise ValueError(
                        f"a column is called {part!r}, as a part of column {name!r} is; rename it first"
                    )
                taken.add(part)

    def _dtypes(self, table: SeriesTable, columns: Iterable[Hashable]) -> dict[Hashable, Any]:
        """The dtype of each column of an answer: its channel's, if that is a float's; bands and parts likewise."""
        of_channel = {name: float_dtype(table.frame[name].dtype) for name in self.value_cols_}
        of_more = {str(name): dtype for name, dtype in of_channel.items()}

        def of(name: Hashable) -> Any:
            if name in of_channel:
                return of_channel[name]
            n_words = 1 if str(name).endswith(tuple(f"-{part}" for part in PARTS)) else 2
            return of_more[str(name).rsplit("-", n_words)[0]]

        return {name: of(name) for name in columns}

    def _answer(
        self, table: SeriesTable, questions: Questions, columns: Mapping[Hashable, np.ndarray]
    ) -> pd.DataFrame:
        return lay_out(table, questions, columns, self._dtypes(table, columns))


def _refuse_columns_for_levels(frame: pd.DataFrame, roles: Roles) -> None:
    names = [roles.id_name, roles.time_name]
    there = all(name is not None and name in frame.columns for name in names)
    raise ValueError(
        "the model was fitted to a frame with a (series, time) index, and this frame has none; "
        f"make it with df.set_index({names if there else '[id column, time column]'})"
    )


def _check_clock(frame: pd.DataFrame, roles: Roles, kind: str) -> None:
    """Refuses row numbers in place of a clock that was the index at the fit and is a column here.

    Raises:
        TypeError: where the model's times are no numbers.
        ValueError: where they are, and the column is called as the index was.
    """
    if frame.index.dtype.kind not in "iuf":
        return
    others = [
        name for name in frame.columns if name not in (*roles.value_cols, *roles.static_cols, roles.id_name)
    ]
    if kind == "number":
        counts = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
        if counts and roles.time_name is not None and roles.time_name in others:
            raise ValueError(
                f"the model was fitted to a frame whose index is the clock {roles.time_name!r}, and here the index "
                f"only counts the rows; column {roles.time_name!r} holds such times: df.set_index({roles.time_name!r})"
            )
        return
    is_such = {
        "datetime": pd.api.types.is_datetime64_any_dtype,
        "timedelta": pd.api.types.is_timedelta64_dtype,
    }
    such = [name for name in others if is_such[kind](frame[name].dtype)]
    if roles.time_name in such:
        such = [roles.time_name]
    if len(such) == 1:
        raise TypeError(
            f"the index holds times of kind 'number', where the model's are of kind {kind!r}; column {such[0]!r} "
            f"holds such times: df.set_index({such[0]!r})"
        )


def lay_out(
    table: SeriesTable,
    questions: Questions,
    columns: Mapping[Hashable, np.ndarray],
    dtypes: Mapping[Hashable, Any],
) -> pd.DataFrame:
    if questions.frame is not None:
        return answer_rows(questions.frame, table.roles, columns, dtypes)
    return answer(table.roles, questions.ids, questions.times, columns, dtypes)
