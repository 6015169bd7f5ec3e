"""Criteo's logs: the Challenge in one partition, the terabyte logs a partition a day, every field with its missing values."""

from datetime import UTC, datetime

import official
import pytest

from amtl.data import events as ev
from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.published import criteo
from amtl.sources.published.lines import collect
from amtl.sources.writing import write_days

LINES = official.CRITEO["train.txt"]


@pytest.mark.parametrize("name", ["train.txt", "train.txt.gz"])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_the_challenge_lies_in_one_partition(tmp_path, name, given):
    folder = official.write(tmp_path / "files", {name: LINES})
    source = criteo.read(folder if given == "folder" else folder / name, "2026-03-01")
    rows = collect(source.frame)
    assert rows["day"].to_list() == ["2026-03-01"] * 3
    assert rows["label"].to_list() == [0, 1, 0]
    assert rows.select("I1", "I2", "I13").rows() == [(1, -2, 7), (None, None, None), (1, -2, None)]
    assert rows.select("C1", "C26").rows() == [("00000000", "00000019"), (None, None), ("00000000", None)]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_terabyte_logs_are_a_partition_a_file_in_the_order_of_lines(tmp_path, ending):
    files = {f"day_{number}{ending}": lines for number, lines in ((0, LINES), (2, LINES[:1]), (10, LINES[:2]))}
    source = criteo.read_terabyte(official.write(tmp_path / "files", files), "2026-02-27")
    assert [path.name for path in source.inputs] == list(files)
    assert "day_0 is taken for 2026-02-27" in source.notes[0]
    write_days(source, tmp_path / "events")
    parts = ev.partitions(tmp_path / "events")
    assert [part.day for part in parts] == ["2026-02-27", "2026-03-01", "2026-03-09"]
    rows = ev.collect(ev.scan(parts, EventsParams.model_validate(criteo.CRITEO_TERABYTE)))
    assert rows["label"].to_list() == [0, 1, 0, 0, 0, 1]
    assert rows["time"].to_list()[1:4:2] == [datetime(2026, 2, 27, 0, 0, 0, 2, tzinfo=UTC), datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no train.txt or train.txt.gz; give train.txt of Criteo"),
        ({"train.txt": []}, r"train\.txt is empty"),
        ({"train.txt": [*LINES, LINES[0].rpartition("\t")[0]]}, r"train\.txt line 4: it has 39 fields, not 40"),
        ({"train.txt": [*LINES, LINES[0] + "\t"]}, r"line 4: it has 41 fields, not 40"),
        ({"train.txt": [LINES[0].replace("\t", ",")]}, "line 1: it has 1 fields, not 40; this is not a click log of Criteo"),
        ({"train.txt": [LINES[0], LINES[1].replace("1", "2", 1)]}, "line 2: label is '2', not 0 or 1"),
        ({"train.txt.gz": [LINES[0], LINES[0].replace("\t-2\t", "\t0.5\t", 1)]}, "line 2: I2 is '0.5', not an integer"),
    ],
)
def test_odd_files_are_refused(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        collect(criteo.read(official.write(tmp_path / "files", files), "2026-03-01").frame)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.txt": LINES}, "holds none of day_0 to day_23; give the folder"),
        ({"day_0": LINES, "day_0.gz": LINES}, "holds both day_0 and day_0.gz"),
        ({"day_0": LINES, "day_1": []}, "day_1 is empty"),
        ({"day_0": LINES, "day_1": [*LINES, ""]}, "day_1 line 4: it has 1 fields, not 40"),
    ],
)
def test_odd_days_are_refused(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        collect(criteo.read_terabyte(official.write(tmp_path / "files", files), "2026-03-01").frame)
