"""Which rows of a leaderboard are kept: the best of each value of a column, or a Pareto front of two columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from results.errors import ResultsError
from results.ranking.column_meanings import MEANINGS, Better
from results.ranking.column_names import column_meant, nearest_columns

BEST_OF_EACH: Final = """
    select * from valued
    qualify row_number() over (partition by dataset, data, value1 order by rank nulls last, before) = 1
    order by dataset, data, value1 nulls last
"""
"""The row with the first rank of each value of a column, in the order of the values."""


def front_query(better: Sequence[Better]) -> str:
    """The query for the rows with a rank that no other row equals or exceeds in both columns, and exceeds in one.

    Rows that are equal in both are all kept. The order is by the first column.
    """
    first, second = (f"{'' if side == 'larger' else '-'}value{n}" for n, side in enumerate(better, start=1))
    return f"""
        with seen as (
            select *, {first} as x, {second} as y from valued
            where rank is not null and value1 is not null and value2 is not null
        ),
        most as (select dataset, data, x, max(y) as y from seen group by all),
        before as (
            select *, max(y) over (
                partition by dataset, data order by x desc rows between unbounded preceding and 1 preceding
            ) as best
            from most
        )
        select seen.* exclude (x, y) from seen
        join before on seen.dataset is not distinct from before.dataset and seen.data is not distinct from before.data
            and seen.x = before.x and seen.y = before.y
        where best is null or before.y > best
        order by seen.dataset, seen.data, value1, rank
    """


def meant_column(option: str, name: str, columns: Sequence[str]) -> str:
    """The column that `name`, given by `option`, means.

    Raises:
        ResultsError: there is none.
    """
    found = column_meant(name, list(columns))
    if found is None:
        near = ", ".join(nearest_columns(name, list(columns)))
        raise ResultsError(f"{option} {name!r:.40} is not a column; use {near}, or see --list-columns")
    return found


def front_columns(given: str, columns: Sequence[str]) -> list[str]:
    """The two columns of `--pareto`.

    Raises:
        ResultsError: there are not two, one is not a column, or it is not known which of its values are better.
    """
    names = [name.strip() for name in given.split(",")]
    if len(names) != 2:
        raise ResultsError(f"pareto {given!r:.40} has {len(names)} columns; give two, such as params,val_accuracy")
    found = [meant_column("pareto", name, columns) for name in names]
    for name in found:
        if MEANINGS[name].better is None:
            known = ", ".join(it for it in columns if MEANINGS[it].better)
            raise ResultsError(f"pareto: no value of {name} is better than another; use one of {known}")
    if found[0] == found[1]:
        raise ResultsError(f"pareto: {found[0]} is given twice; give two columns")
    return found
