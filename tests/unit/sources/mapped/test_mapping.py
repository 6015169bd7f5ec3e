"""A user's files, per format: what is proposed comes out as the same events, and what does not fit is refused with its place."""

import gzip
import json
from datetime import UTC, datetime

import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.mapped import mapping, tables
from amtl.sources.mapped.conversions import Reading
from amtl.sources.mapped.proposal import Wishes, reading_for
from amtl.sources.mapped.tables import find, open_table, sample
from amtl.sources.writing import write_days
from flows.ingest import proposed

ROWS = [
    {"ts": "2026-01-01 23:59:59.5", "click": 1, "user_id": 7, "zip": "007", "price": 1.5, "tags": ["a", "b"], "device": None},
    {"ts": "2026-01-02 00:00:00", "click": 0, "user_id": 8, "zip": "12345", "price": None, "tags": ["b"], "device": "tv"},
    {"ts": "2026-01-02 00:00:00", "click": 0, "user_id": -8, "zip": "x,y", "price": 2.0, "tags": ["c"], "device": "tv"},
]
WISHES = Wishes(label="click", lists=("tags",))


def csv_lines(rows=ROWS, delimiter=","):
    def cell(value):
        text = "" if value is None else "|".join(value) if isinstance(value, list) else str(value)
        return f'"{text}"' if delimiter in text else text

    return [delimiter.join(rows[0]), *(delimiter.join(cell(value) for value in row.values()) for row in rows)]


def write(folder, name, rows=ROWS):
    """The rows in the format that the name's ending says."""
    path = folder / name
    if name.endswith(".parquet"):
        pl.DataFrame(rows).with_columns(pl.col("ts").str.to_datetime("%Y-%m-%d %H:%M:%S%.f")).write_parquet(path)
        return path
    if name.endswith("json"):
        lines = [json.dumps(row) for row in rows]
    else:
        lines = csv_lines(rows, {"tsv": "\t", "txt": ";"}.get(name.removesuffix(".gz")[-3:], ","))
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def ingested(path, destination, wishes=WISHES):
    """The events that come out of a file, and the section that declares them."""
    table, proposal = proposed([str(path)], wishes)
    write_days(mapping.read(table, proposal.section, proposal.reading, "2026-03-01"), destination)
    section = EventsParams.model_validate(proposal.section)
    return ev.collect(ev.scan(ev.partitions(destination), section)), section


@pytest.mark.parametrize("name", ["e.csv", "e.tsv", "e.txt", "e.csv.gz", "e.ndjson", "e.parquet"])
def test_every_format_gives_the_same_events(tmp_path, name):
    rows, section = ingested(write(tmp_path, name), tmp_path / "events")
    assert [(field.name, field.kind, field.type, field.optional) for field in section.fields] == [
        ("user_id", "id", "integer", False),
        ("zip", "id", "string", False),
        ("price", "number", "string", True),
        ("tags", "ids", "string", False),
        ("device", "id", "string", True),
    ]
    assert [part.day for part in ev.partitions(tmp_path / "events")] == ["2026-01-01", "2026-01-02"]
    assert rows["ts"].to_list() == [datetime(2026, 1, 1, 23, 59, 59, 500_000, UTC), *[datetime(2026, 1, 2, tzinfo=UTC)] * 2]
    for name, values in {"click": [1, 0, 0], "user_id": [7, 8, -8], "price": [1.5, None, 2.0], "device": [None, "tv", "tv"]}.items():
        assert rows[name].to_list() == values
    assert rows["zip"].to_list() == ["007", "12345", "x,y"]
    assert rows["tags"].to_list() == [["a", "b"], ["b"], ["c"]]


def test_the_same_rows_give_the_same_bytes_however_they_are_cut_into_files(tmp_path):
    whole = write(tmp_path, "whole.csv")
    (tmp_path / "cut").mkdir()
    for number, row in enumerate(ROWS):
        write(tmp_path / "cut", f"{number}.csv", [row])
    table, proposal = proposed([str(whole)], WISHES)
    write_days(mapping.read(table, proposal.section, proposal.reading, "2026-03-01"), tmp_path / "one")
    cut = open_table(find([str(tmp_path / "cut")]))
    write_days(mapping.read(cut, proposal.section, proposal.reading, "2026-03-01"), tmp_path / "many")
    assert [part.digest for part in ev.partitions(tmp_path / "one")] == [part.digest for part in ev.partitions(tmp_path / "many")]


def test_a_later_delivery_is_read_as_the_days_that_are_here(tmp_path):
    ratings = [{"user": number % 3, "rating": number % 5, "at": 1_700_000_000 + number} for number in range(60)]
    first = write(tmp_path, "first.csv", ratings)
    _, section = ingested(first, tmp_path / "events", Wishes(label="rating>=3", time="at"))
    stored = Reading.of(ev.partitions(tmp_path / "events")[0].files[0])
    later = open_table([write(tmp_path, "later.csv", [{**row, "at": row["at"] + 86_400, "rating": 4} for row in ratings])])
    reading = reading_for(sample(later), section, stored)
    write_days(mapping.read(later, section.model_dump(mode="json"), reading, "2026-03-01"), tmp_path / "events")
    rows = ev.collect(ev.scan(ev.partitions(tmp_path / "events"), section))
    assert section.label == "rating_at_least_3"
    assert rows["rating_at_least_3"].to_list() == [1] * 60
    assert rows["at"][0] == datetime(2023, 11, 15, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wishes", "values", "labels"),
    [
        (Wishes(label="y>=0.5"), ["0.5", "0.4", "", "7"], [1, 0, None, 1]),
        (Wishes(label="y=yes"), ["yes", "no", "", "Yes"], [1, 0, None, 0]),
        (Wishes(label="y"), ["true", "False", "", "TRUE"], [1, 0, None, 1]),
        (Wishes(label="y"), ["1.0", "0.0", "", "1"], [1, 0, None, 1]),
    ],
)
def test_labels(tmp_path, wishes, values, labels):
    path = tmp_path / "e.csv"
    path.write_text("y,u\n" + "".join(f"{value},a{number % 2}\n" for number, value in enumerate(values)))
    table, proposal = proposed([str(path)], wishes)
    write_days(mapping.read(table, proposal.section, proposal.reading, "2026-03-01"), tmp_path / "events")
    raw = pl.read_parquet(tmp_path / "events" / "**" / "*.parquet", hive_partitioning=False)
    assert raw[proposal.section["label"]].to_list() == labels
    assert "y" not in [field["name"] for field in proposal.section["fields"]]


def test_rows_without_time_lie_in_the_day_of_import_and_days_may_be_named(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("y,u,d\n1,a,20260201\n0,b,20260202\n1,a,20260201\n")
    ingested(path, tmp_path / "events", Wishes(time="none"))
    assert [part.day for part in ev.partitions(tmp_path / "events")] == ["2026-03-01"]
    _, section = ingested(path, tmp_path / "events", Wishes(day_column="d"))
    assert [part.day for part in ev.partitions(tmp_path / "events")] == ["2026-02-01", "2026-02-02"]
    assert section.split.kind == "random"


def test_a_zone_moves_clocks_to_utc(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("y,u,at\n1,a,01/07/2026 01:00\n0,b,01/07/2026 12:00\n")
    rows, _ = ingested(path, tmp_path / "events", Wishes(time="at", time_format="%d/%m/%Y %H:%M", time_zone="Europe/Berlin"))
    assert rows["at"].dt.to_string("%d %H").to_list() == ["30 23", "01 10"]


GOOD = csv_lines()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*GOOD, "2026-01-02 00:00:00,0,1,z,2"], r"e\.csv line 5 has 5 values, not 7"),
        ([*GOOD[:2], "2026-01-02 00:00:00,0,1,z,2,a,tv,more", *GOOD[2:]], r"e\.csv line 3 has 8 values, not 7"),
        ([*GOOD, '2026-01-02 00:00:00,0,1,"z",2,a'], r"line 5 has 6 values"),
        ([*GOOD, "", GOOD[1]], r"line 5 is blank"),
        ([*GOOD, "2026-01-02 00:00:00,0,abc,z,2,a,tv"], r"line 5: user_id is 'abc', which is no whole number .*--field user_id:string"),
        ([*GOOD, "2026-01-02 00:00:00,0,99999999999999999999,z,2,a,tv"], r"line 5: user_id is '9{20}'"),
        ([*GOOD, "2026-01-02 00:00:00,0,1,z,cheap,a,tv"], r"line 5: price is 'cheap', which is no number"),
        ([*GOOD, "yesterday,0,1,z,2,a,tv"], r"line 5: ts is 'yesterday', which is not written like the values before it"),
        ([*GOOD, "2026-01-02T00:00:00Z,0,1,z,2,a,tv"], r"line 5: ts is '2026-01-02T00:00:00Z'"),
        ([*GOOD, ",0,1,z,2,a,tv"], r"line 5 has no ts, which says the day"),
    ],
)
def test_a_bad_line_is_named_and_nothing_changes(tmp_path, lines, message):
    path = tmp_path / "e.csv"
    path.write_text("\n".join(GOOD) + "\n")
    table, proposal = proposed([str(path)], WISHES)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        write_days(mapping.read(table, proposal.section, proposal.reading, "2026-03-01"), tmp_path / "events")
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.csv"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"ts": "2026-01-02 00:00:00", "click": 0', r"e\.ndjson line 4 is no JSON"),
        ("[1, 2]", r"e\.ndjson line 4 is no JSON object"),
        ('{"ts": "2026-01-02 00:00:00", "click": 0, "user_id": "x", "zip": "1", "tags": ["a"]}', "row 4: user_id is 'x'"),
        ('{"click": 0, "user_id": 1, "zip": "1", "tags": ["a"]}', "row 4 has no ts"),
    ],
)
def test_a_bad_object_is_named(tmp_path, line, message):
    path = write(tmp_path, "e.ndjson")
    table, proposal = proposed([str(path)], WISHES)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=message):
        write_days(mapping.read(table, proposal.section, proposal.reading, "2026-03-01"), tmp_path / "events")


def test_a_file_that_ends_early_is_named(tmp_path):
    path = write(tmp_path, "e.csv.gz")
    table, proposal = proposed([str(path)], WISHES)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"e\.csv\.gz cannot be read beyond line \d \(.*\); deliver it again"):
        mapping.read(table, proposal.section, proposal.reading, "2026-03-01")


def test_what_is_no_utf8_is_named(tmp_path):
    path = write(tmp_path, "e.csv")
    table, proposal = proposed([str(path)], WISHES)
    path.write_bytes(path.read_bytes() + "2026-01-02 00:00:00,0,1,café,2,a,tv\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 5 is not encoded in UTF-8; convert the file first"):
        mapping.read(table, proposal.section, proposal.reading, "2026-03-01")


def test_a_file_that_lacks_a_column_or_has_another_type_is_refused(tmp_path):
    _, proposal = proposed([str(write(tmp_path, "e.parquet"))], WISHES)
    frame = pl.read_parquet(tmp_path / "e.parquet")
    for changed, message in (
        (frame.drop("user_id", "zip"), "lacks user_id, zip, declared by params.yaml"),
        (frame.with_columns(pl.col("user_id").cast(pl.Float64)), "column user_id has type Float64, not integers"),
        (frame.with_columns(pl.col("zip").str.len_bytes()), "column zip has type UInt32, not text"),
    ):
        changed.write_parquet(tmp_path / "changed.parquet")
        with pytest.raises(DataError, match=message):
            mapping.read(open_table([tmp_path / "changed.parquet"]), proposal.section, proposal.reading, "2026-03-01")
    frame.drop("device", "price").write_parquet(tmp_path / "changed.parquet")
    source = mapping.read(open_table([tmp_path / "changed.parquet"]), proposal.section, proposal.reading, "2026-03-01")
    assert source.frame.collect()["device"].to_list() == [None] * 3


def test_integers_beyond_64_bits_are_text(tmp_path):
    big = 2**64 - 1
    frame = pl.DataFrame(
        {"y": [1, 0, 1], "u": [big, 1, big], "l": [[big], [], [1]]}, schema_overrides={"u": pl.UInt64, "l": pl.List(pl.UInt64)}
    )
    frame.write_parquet(tmp_path / "e.parquet")
    (tmp_path / "e.ndjson").write_text("".join(json.dumps(row) + "\n" for row in frame.to_dicts()))
    for name in ("e.parquet", "e.ndjson"):
        rows, section = ingested(tmp_path / name, tmp_path / "events", Wishes())
        assert [(field.kind, field.type) for field in section.fields] == [("id", "string"), ("ids", "string")]
        assert rows["u"].to_list() == [str(big), "1", str(big)]
        assert rows["l"].to_list() == [[str(big)], [], ["1"]]


def test_a_key_that_comes_late_in_ndjson_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "SAMPLED_ROWS", 2)
    path = tmp_path / "e.ndjson"
    path.write_text('{"y": 1, "u": "a", "v": "b"}\n{"y": 0, "u": "b", "v": "c"}\n')
    _, proposal = proposed([str(path)], Wishes())
    section = {**proposal.section, "fields": [*proposal.section["fields"], {"name": "late", "optional": True}]}
    path.write_text(path.read_text() + '{"y": 0, "u": "b", "v": "c", "late": "here"}\n')
    source = mapping.read(open_table([path]), section, proposal.reading, "2026-03-01")
    assert source.frame.collect()["late"].to_list() == [None, None, "here"]


def test_files_with_other_delimiters_are_refused_by_name(tmp_path):
    paths = [str(write(tmp_path, name)) for name in ("a.csv", "b.tsv", "c.csv")]
    with pytest.raises(DataError, match=r"b.tsv line 1 has no ',', which other files have between two values; bring files of one layout"):
        proposed(paths, WISHES)


def test_a_file_without_rows_is_refused_as_such(tmp_path):
    (tmp_path / "head.csv").write_text("ts,click,user_id\n")
    with pytest.raises(DataError, match=r"head.csv: no rows below the names of the columns; deliver it again"):
        proposed([str(tmp_path / "head.csv")], Wishes(label="click"))
