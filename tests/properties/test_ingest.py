"""The same rows come out of a CSV, a Parquet and an NDJSON file, whatever their text holds."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.data import events as ev
from amtl.sources.mapped import mapping as mapped
from amtl.sources.mapped.proposal import Wishes
from amtl.sources.writing import write_days
from flows.ingest import proposed

WISHES = Wishes(label="click", time="at", fields=("user:integer", "item:string"), numbers=("price",))
SCHEMA = {"at": pl.Datetime("us"), "click": pl.Int64, "user": pl.Int64, "item": pl.String, "price": pl.Float64}
ROWS = st.lists(
    st.tuples(
        st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 4)),
        st.integers(0, 1),
        st.integers(-(2**63), 2**63 - 1),
        st.one_of(st.none(), st.text("aZ09 ,;|\t\"'é漢\n", min_size=1, max_size=8), st.sampled_from(["NULL", "1", "007", "true"])),
        st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    ),
    min_size=1,
    max_size=20,
)
WRITERS = {"csv": pl.DataFrame.write_csv, "parquet": pl.DataFrame.write_parquet, "ndjson": pl.DataFrame.write_ndjson}


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_what_is_written_comes_out(tmp_path_factory, name, rows):
    folder = tmp_path_factory.mktemp("ingest")
    raw = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    WRITERS[name](raw, folder / f"e.{name}")
    table, proposal = proposed([str(folder / f"e.{name}")], WISHES)
    source = mapped.read(table, proposal.section, proposal.reading, "2026-03-01")
    assert source.rows == len(rows)
    write_days(source, folder / "events")
    parts = ev.partitions(folder / "events")
    assert [part.day for part in parts] == sorted({str(row[0].date()) for row in rows})
    come = pl.concat([pl.read_parquet(file, hive_partitioning=False) for part in parts for file in part.files]).select(raw.columns)
    expected = raw.with_columns(pl.col("at").dt.replace_time_zone("UTC")).sort(pl.col("at").dt.date(), maintain_order=True)
    assert come.rows() == expected.rows()
