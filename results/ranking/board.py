"""A leaderboard: its rows in order, and what holds for all of its rows, also for those that are not shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa

from results.ranking.ranking_rule import data_key, ranks_within
from results.ranking.seeds import SEEDS_SCHEMA
from results.record.arrow_arrays import arrow_array
from results.record.tables import TRIALS_SCHEMA
from results.record.trials_of_runs import COLUMNS, TrialsOfRuns

if TYPE_CHECKING:
    import pandas as pd

_INTERVALS: Final = ("val_accuracy_low", "val_accuracy_high", "test_accuracy_low", "test_accuracy_high")
RANKED_SCHEMA: Final = pa.schema(
    [
        ("rank", pa.int64()),
        *(field for field in COLUMNS if field.name != "answers"),
        *[("mid_course", pa.bool_()), ("tied", pa.bool_()), *((name, pa.float64()) for name in _INTERVALS)],
    ]
)
"""The leaderboard's columns as an Arrow schema."""

LIST_COLUMNS: Final = {field.name for field in (*RANKED_SCHEMA, *SEEDS_SCHEMA) if pa.types.is_list(field.type)}
"""The columns that hold lists of whole numbers."""

MAY_DIFFER: Final = (
    *("run", "dataset", "data", "blocks", "channels", "layout_id", "seed"),
    *(name for name in TRIALS_SCHEMA.names if name.startswith("recipe_")),
)
"""The columns of which a table shows only those that differ between rows, or shows them less readily."""


@dataclass(frozen=True)
class Board:
    """A leaderboard, of which `table` has the rows to show."""

    table: pa.Table
    """Rows in their order, with columns of `RANKED_SCHEMA`, or of `SEEDS_SCHEMA` for means over seeds."""
    total: int
    """The number of rows of the whole leaderboard."""
    differing: frozenset[str]
    """Those of `MAY_DIFFER` that have two values in the whole leaderboard."""
    sorted_by: str | None = None
    """The column that orders the rows, if it is not the rank."""
    chosen: tuple[str, ...] = ()
    """The only columns to show, in this order; empty for those that are informative, or all in a file."""
    picked: str = ""
    """What the rows are, if they are not the first ones."""
    ranked: bool = True
    """Whether it is a leaderboard; False for the answer to a query, which has any columns."""
    notes: tuple[str, ...] = ()
    """What to say below the rows of such an answer."""

    @classmethod
    def of(cls, table: pa.Table | pd.DataFrame, sorted_by: str | None = None) -> Self:
        """The leaderboard whose rows are all in `table`, as Arrow table or as data frame."""
        if not isinstance(table, pa.Table):
            schema = pa.schema(
                [f for f in (RANKED_SCHEMA if "trial" in table.columns else SEEDS_SCHEMA) if f.name in table.columns]
            )
            table = pa.Table.from_pandas(table, schema=schema, preserve_index=False).replace_schema_metadata(None)
        trials = TrialsOfRuns.of(table)
        differing = {name for name in MAY_DIFFER if name in table.schema.names and trials.differ(name)}
        return cls(table, table.num_rows, frozenset(differing), sorted_by)

    @property
    def over_seeds(self) -> bool:
        """Whether a row is the mean of trainings of a layout and recipe."""
        return "seeds" in self.table.schema.names

    def first(self, top: int) -> Self:
        """The leaderboard with the first `top` rows of each data set to show."""
        places = ranks_within(list(map(data_key, self.column("dataset"), self.column("data"))))
        return replace(self, table=self.table.filter(arrow_array([place <= top for place in places], pa.bool_())))

    @property
    def written(self) -> pa.Table:
        """The rows with the columns that a file has."""
        return self.table.select(list(self.chosen)) if self.chosen else self.table

    def column(self, name: str) -> list[Any]:
        """The values of a column of the rows to show, with None for null."""
        values: list[Any] = self.table[name].to_pylist()
        return values

    def frame(self) -> pd.DataFrame:
        """The rows as a data frame with nullable types, and lists as Python's."""
        import pandas as pd  # takes half a second, which a leaderboard in a terminal need not wait for

        kinds: dict[Any, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        table = self.written
        frame: pd.DataFrame = table.to_pandas(types_mapper=kinds.get)
        for field in table.schema:
            if pa.types.is_list(field.type):
                frame[field.name] = pd.Series(table[field.name].to_pylist(), dtype=object, index=frame.index)
        return frame
