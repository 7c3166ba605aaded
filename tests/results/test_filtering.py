"""Filters: one boolean expression keeps the rows that pandas would, and nothing else gets through."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from results.errors import FilterError
from results.ranking.column_names import nearest_columns, short_names
from results.ranking.filtering import filter_table, share_note
from results.record.reading import read_run
from tests.support.examples import examples
from tests.support.results_fixtures import write_run

ROWS = st.lists(
    st.tuples(
        st.integers(-5, 5) | st.none(),
        st.floats(-3, 3) | st.none() | st.just(math.nan),
        st.sampled_from(["completed", "stopped", "it's"]) | st.none(),
        st.lists(st.integers(1, 4), min_size=1, max_size=3),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return read_run(write_run(tmp_path_factory.mktemp("runs") / "alpha")).trials


def numbered(table: pa.Table, where: str) -> list[Any]:
    kept: list[Any] = filter_table(table, where)["trial"].to_pylist()
    return kept


@examples(30)
@given(rows=ROWS, bound=st.integers(-5, 5), status=st.sampled_from(["completed", "it's"]), both=st.booleans())
def test_a_filter_keeps_the_rows_of_the_pandas_mask(
    rows: list[tuple[Any, ...]], bound: int, status: str, both: bool
) -> None:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    types = {"params": pa.int64(), "loss": pa.float64(), "status": pa.string(), "blocks": pa.list_(pa.int64())}
    table = pa.table({n: pa.array(c, t) for (n, t), c in zip(types.items(), columns, strict=True)})
    frame = pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in zip(types, columns, strict=True)})
    params, loss = frame["params"].astype("Int64"), pd.to_numeric(frame["loss"]).astype("Float64")
    left = (params >= bound).fillna(False) | (loss < bound / 2).fillna(False)
    right = (frame["status"] == status) | frame["blocks"].map(lambda blocks: blocks[0] == 2).astype(bool)
    mask = (left & right) if both else (left | right)
    quoted = status.replace("'", "''")
    where = (
        f"(params >= {bound} or loss < {bound} / 2) {'and' if both else 'or'} (status = '{quoted}' or blocks[1] = 2)"
    )
    kept = filter_table(table, where)
    assert kept.schema == table.schema
    expected = [row for row, keep in zip(table.to_pylist(), mask, strict=True) if keep]
    assert repr(kept.to_pylist()) == repr(expected)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("true", [0, 1, 2, 3, 4, 5]),
        ("NULL::boolean", []),
        ("trials.params > 15000", [1, 2]),
        ("PARAMS > 15000 -- a comment", [1, 2]),
        ("list_sum(blocks) > 4 and len(blocks) = 3", [1]),
        ("list_filter(blocks, lambda b: b > 7) != []", [3, 4]),
        ("recipe_flip and not conv_bias and trial % 2 = 1", [1, 3, 5]),
        ("status like '%ed' and status not in ('failed', 'diverged')", [0, 1, 2, 5]),
        ("regexp_matches(error, 'Memory')", [4]),
        ("test_accuracy is not null", [2]),
        ("case when trial between 1 and 2 then true else false end", [1, 2]),
        ("coalesce(val_accuracy, 1) >= 0.9", [2, 4, 5]),
        ("abs(val_accuracy - 0.7) < 0.15", [0, 1]),
        ("params < (select avg(params) from trials)", [0, 2, 3, 4, 5]),
        ("trials.val >= 0.9 or ACCURACY is null", "val_accuracy >= 0.9 or val_accuracy is null"),
        ("test is not null", "test_accuracy is not null"),
        ("learning_rate > 0.05 and optimizer != 'sgd'", "recipe_learning_rate > 0.05 and recipe_optimizer != 'sgd'"),
        ("lr < 1 and bs > 1", "recipe_learning_rate < 1 and recipe_batch_size > 1"),
        ("epochs > 2", "trials.epochs > 2"),
    ],
)
def test_expressions_over_the_columns_work(trials: pa.Table, where: str, kept: list[int] | str) -> None:
    """A text for `kept` is the same condition in the names of the columns."""
    assert numbered(trials, where) == (numbered(trials, kept) if isinstance(kept, str) else kept)


def test_other_names_add_no_column_and_hide_none(trials: pa.Table) -> None:
    names = short_names(trials.schema.names)
    assert names["val"] == "val_accuracy"
    assert names["optimizer"] == "recipe_optimizer"
    assert not names.keys() & set(trials.schema.names)
    assert set(names.values()) <= set(trials.schema.names)
    assert filter_table(trials, "true") == trials


@pytest.mark.parametrize(
    ("where", "note"),
    [
        ("val_accuracy > 95", "val_accuracy is a share from 0 to 1, and 95 is given; write 0.95 for 95%"),
        ("params > 1 and 87.5 <= trials.val", "and 87.5 is given; write 0.875 for 87.5%"),
        ("test between 90 and 95", "test_accuracy is a share"),
        ('"val">950', "and 950 is given; write 0.95 for 95%"),
        ("val > 0.95 and params > 95", None),
        ("val_loss < 2 or epochs > 3 or val = 1", None),
    ],
)
def test_an_accuracy_in_percent_is_explained(trials: pa.Table, where: str, note: str | None) -> None:
    said = share_note(where, trials.schema.names)
    assert said is None if note is None else note in str(said)
    filter_table(trials, where)


def test_a_percent_sign_is_explained(trials: pa.Table) -> None:
    with pytest.raises(FilterError, match=r"write 0\.95 for 95%"):
        filter_table(trials, "(val > 95 %) and params > 1")


def test_nan_is_no_number(trials: pa.Table) -> None:
    table = pa.table({"trial": [1, 2, 3], "val_loss": [math.nan, 0.5, None]})
    assert numbered(table, "val_loss > 0.1") == [2]
    assert numbered(table, "val_loss is null") == [1, 3]
    assert math.isnan(filter_table(table, "trial = 1")["val_loss"][0].as_py())


REFUSED = """
1 | params | status | null | 'true' | blocks | ; | params, trial | true, true | * | COLUMNS(*) > 1 | trials.* | trials
true) -- | 1; DROP TABLE trials | true; SELECT 1 | true) /* | true] -- | distinct true | true AS x | x for x in blocks
true) UNION (SELECT * FROM trials | true] UNION SELECT * FROM trials WHERE [true | true] UNION ALL SELECT 1 --
true) ORDER BY (1 | true] ORDER BY [1 | true] LIMIT 1 -- | true] GROUP BY ALL -- | true] HAVING [true
true] QUALIFY [true | true] WINDOW w AS (ORDER BY trial) -- | true] USING SAMPLE 1 -- | true]; SELECT [true
true) OR (true | true] OR [true | true][1 | select true | from trials | table trials | values (true) | row(true)
true FROM trials | true WHERE true | true ORDER BY 1 | true LIMIT 1 | true GROUP BY ALL | true HAVING true
true UNION SELECT true | true QUALIFY true | true WINDOW w AS () | true USING SAMPLE 1 | true x | x: true
count(*) > 1 | sum(params) > 1 | rank() over () = 1 | sum(params) over () > 1 | unnest(blocks) > 1 | params > ?
params > $1 | params < | true, | true , -- | params = 'many' | status > 1 | error('x') | (from trials) is null | a\0b
"""
OUT_OF_REACH = """
read_csv('here.csv') | read_text('here.csv') is null | (from 'here.csv') | glob('*') is null | query('select 1')
exists(from 'here.csv') | exists(from read_csv('here.csv')) | exists(from read_text('here.csv'))
exists(from read_blob('/etc/passwd')) | exists(from glob('*')) | exists(from sniff_csv('here.csv'))
exists(from read_json('http://127.0.0.1:9/')) | exists(from read_parquet('https://127.0.0.1:9/'))
exists(from query('copy trials to ''there.csv''')) | exists(copy trials to 'there.csv') | COPY trials TO 'there.csv'
exists(with gone as (delete from trials returning 1) from gone) | exists(attach 'x.db') | ATTACH 'x.db'
exists(from read_duckdb('x.db')) | exists(from enable_logging(storage='file', storage_path='logs')) | INSTALL httpfs
LOAD httpfs | PRAGMA version | SET threads = 2 | exists(set threads = 2) | set_config('threads', '2') is null
exists(call enable_logging()) | getenv('HOME') = '' | nextval('s') = 1 | exists(from here) | EXPORT DATABASE 'there'
"""


def entries(block: str) -> list[str]:
    return [text.strip() for line in block.strip().split("\n") for text in line.split(" | ")]


@pytest.mark.parametrize(
    "where", [*entries(REFUSED), "", " ", "-- nothing", "true] || [true", "\ud800", "not " * 3000 + "true"]
)
def test_anything_else_is_refused_in_one_line(trials: pa.Table, where: str) -> None:
    with pytest.raises(FilterError) as caught:
        filter_table(trials, where)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("where", entries(OUT_OF_REACH))
def test_no_file_network_setting_or_write_is_within_reach(
    trials: pa.Table, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = pd.DataFrame({"trial": [0]})  # DuckDB would find it by its name
    here.to_csv("here.csv")
    with pytest.raises(FilterError):
        filter_table(trials, where)
    assert os.listdir(tmp_path) == ["here.csv"]


WORDS = """true false params 1 ' " ( ) [ ] { } , ; -- /* */ or and not select from trials where union order by limit
group having exists in is null = < . * ? $1 :: := -> lambda x : case when then else end copy to"""


@examples(60)
@example(words=["(" * 5000, "true", ")" * 5000])
@given(words=st.lists(st.sampled_from(WORDS.split()), max_size=8))
def test_any_text_is_a_filter_or_an_error(trials: pa.Table, words: list[str]) -> None:
    where = " ".join(words)
    try:
        kept = numbered(trials, where)
    except FilterError:
        return
    negated = numbered(trials, f"not (\n{where}\n)")
    assert kept == sorted(set(kept) - set(negated))


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("parms > 1", "params"),
        ("val_acuracy > 0.5", "val_accuracy"),
        ("trials.recipe_lr > 1", "recipe_learning_rate"),
        ("recipe.flip", "recipe_flip"),
        ('status = "completed"', "single quotes"),
        ("row_of_table < 3", "trial"),  # the filter's own count of the rows
    ],
)
def test_an_unknown_column_is_named_with_the_nearest(trials: pa.Table, where: str, named: str) -> None:
    with pytest.raises(FilterError, match=f"is not a column; use .*{named}"):
        filter_table(trials, where)


def test_a_heading_of_the_table_leads_to_its_column() -> None:
    assert nearest_columns("val", ["trial", "val_loss", "val_accuracy"])[0] == "val_accuracy"
    assert nearest_columns("parms", ["trial", "params"])[0] == "params"
