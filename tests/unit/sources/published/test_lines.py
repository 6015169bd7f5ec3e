"""Lines of published files: fields are counted, damage is named by line, compressed files are read as they are."""

import gzip

import polars as pl
import pytest

from amtl.errors import DataError
from amtl.sources.published import lines
from amtl.sources.published.layout import FLAG, INTEGER, NUMBER, TEXT, Column, Layout
from amtl.sources.writing import write_days

LAYOUT = Layout(
    "a made file", ",", (Column("number", INTEGER), Column("text", TEXT, optional=True), Column("flag", FLAG)), missing=("", "?")
)
SECTION = {"name": "made", "label": "flag", "fields": [{"name": "number", "type": "integer"}, {"name": "text"}]}
CONTENT = b"1,a,0\n2,,1\n3,?,1\n"


def read(path, layout=LAYOUT):
    return lines.collect(lines.scan(path, layout), path)


@pytest.mark.parametrize(
    "content", [CONTENT, CONTENT.replace(b"\n", b"\r\n"), CONTENT.removesuffix(b"\n"), gzip.compress(CONTENT, mtime=0)]
)
def test_values_by_line(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert read(tmp_path / "file").rows() == [(1, 1, "a", 0), (2, 2, None, 1), (3, 3, None, 1)]


def test_types_are_the_kinds(tmp_path):
    (tmp_path / "file").write_bytes(b"1,1e3,0\n")
    layout = Layout("a made file", ",", (Column("a", INTEGER), Column("b", NUMBER), Column("c", FLAG)))
    assert read(tmp_path / "file", layout).drop(lines.LINE).schema == {"a": pl.Int64, "b": pl.Float64, "c": pl.Int8}


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e400", "", "one"])
def test_numbers_are_finite(tmp_path, word):
    (tmp_path / "file").write_text(f"0\n{word}\n")
    with pytest.raises(DataError, match=rf"file line 2: b is '{word}', not a number"):
        read(tmp_path / "file", Layout("a made file", ",", (Column("b", NUMBER),)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT + b"4,b\n", "line 4: it has 2 fields, not 3; this is not a made file: download it again"),
        (CONTENT + b"4,b,1,1\n", "line 4: it has 4 fields, not 3"),
        (CONTENT + b"\n", "line 4: it has 1 fields, not 3"),
        (CONTENT + b"4,b\xe9,1\n", "line 4 is not encoded in UTF-8"),
        (gzip.compress(CONTENT * 1000)[:-20], r"cannot be read beyond line \d,\d+ \(Compressed file ended"),
        (b"", "is empty"),
        (b"\n", "starts with an empty line"),
    ],
    ids=["short", "long", "empty line", "not UTF-8", "cut", "empty", "empty first line"],
)
def test_damage_is_named_on_collecting_and_on_writing(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path)
    with pytest.raises(DataError, match=message):
        write_days(
            lines.source(SECTION, lines.scan(path, LAYOUT).with_columns(day=pl.lit("2026-01-01")), [path], None), tmp_path / "events"
        )
    assert not (tmp_path / "events").exists()


def test_the_line_is_the_right_one_deep_in_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1,a,0\n" * 400_000 + b"1,a,2\n" + b"1,a,0\n" * 100_000)
    with pytest.raises(DataError, match="line 400,001: flag is '2', not 0 or 1"):
        read(path)


def test_a_table_has_a_line_a_value(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    assert lines.table(tmp_path / "file", LAYOUT, "number")["number"].to_list() == [1, 2, 3]
    with pytest.raises(DataError, match="line 3: flag 1 has a line already"):
        lines.table(tmp_path / "file", LAYOUT, "flag")


def test_rows_are_counted_where_that_is_cheap(tmp_path):
    header = Layout("a made file", ",", LAYOUT.columns, header=True)
    (tmp_path / "plain").write_bytes(CONTENT)
    (tmp_path / "packed").write_bytes(gzip.compress(CONTENT))
    assert lines.count([tmp_path / "plain"] * 2, LAYOUT) == 6
    assert lines.count([tmp_path / "plain"] * 2, header) == 4
    assert lines.count([tmp_path / "plain", tmp_path / "packed"], LAYOUT) is None


def test_latin_1_is_read_as_it_is(tmp_path):
    (tmp_path / "file").write_bytes(b"1,caf\xe9,0\n")
    layout = Layout("a made file", ",", LAYOUT.columns, latin_1=True)
    assert read(tmp_path / "file", layout)["text"].to_list() == ["café"]
