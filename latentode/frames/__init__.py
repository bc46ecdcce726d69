"""Between DataFrames and tensors: roles of columns, clocks, scaling, and the way back."""

from latentode.frames.arrays import as_array
from latentode.frames.clock import Instants, read_times
from latentode.frames.layout import SAMPLE, answer, answer_rows, float_dtype
from latentode.frames.libraries import answers_in_kind, fills_in_kind, in_kind, to_pandas
from latentode.frames.questions import Questions, ask_ahead, ask_rows, ask_times, read_asked, read_moment
from latentode.frames.reading import read_frame
from latentode.frames.roles import Roles
from latentode.frames.scaling import Scaling
from latentode.frames.statics import CategoryColumn, NumberColumn, Statics, StaticValues
from latentode.frames.table import SeriesTable

__all__ = [
    "SAMPLE",
    "CategoryColumn",
    "Instants",
    "NumberColumn",
    "Questions",
    "Roles",
    "Scaling",
    "SeriesTable",
    "StaticValues",
    "Statics",
    "answer",
    "answer_rows",
    "answers_in_kind",
    "as_array",
    "ask_ahead",
    "ask_rows",
    "ask_times",
    "fills_in_kind",
    "float_dtype",
    "in_kind",
    "read_asked",
    "read_frame",
    "read_moment",
    "read_times",
    "to_pandas",
]
