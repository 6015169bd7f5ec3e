"""Avazu's log: the hour gives day, time and a field; the number of the row is nowhere."""

from datetime import UTC, datetime

import official
import pytest

from amtl.errors import DataError
from amtl.sources.published import avazu
from amtl.sources.published.lines import collect

HEADER, *LINES = official.AVAZU["train.csv"]


@pytest.mark.parametrize("name", avazu.FILES)
def test_rows(tmp_path, name):
    rows = collect(avazu.read(official.write(tmp_path / "files", {name: [HEADER, *LINES]}), "2026-03-01").frame)
    assert rows["day"].to_list() == ["2014-10-21", "2014-10-21", "2014-10-22", "2014-10-22"]
    assert rows["hour"].to_list() == [0, 23, 0, 1]
    assert rows["time"][1] == datetime(2014, 10, 21, 23, tzinfo=UTC)
    assert rows["click"].to_list() == [0, 1, 1, 0]
    assert rows.select("C1", "site_id", "device_model", "C14", "C20", "C21").row(0) == (1005, "1fbe01fe", "44956a24", 15706, -1, 79)
    assert "id" not in rows.columns


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "train.csv is empty"),
        (LINES, "line 1: the header lacks id, click, hour"),
        ([HEADER.replace("click,", ""), *LINES], "line 1: the header lacks click; this is not train.csv of Avazu"),
        ([HEADER + ",C22"], "line 1: the header has C22 too"),
        ([HEADER, *LINES, LINES[0].rpartition(",")[0]], "line 6: it has 23 fields, not 24"),
        ([HEADER, LINES[0].replace("14102100", "14102199")], "line 2: hour is '14102199', not an hour as YYMMDDHH"),
        ([HEADER, LINES[0].replace("14102100", "1410210")], "line 2: hour is '1410210'"),
        ([HEADER, LINES[0], LINES[1].replace("1fbe01fe", "")], "line 3: site_id is '', not a value"),
        ([HEADER, LINES[0].replace(",0,14102100", ",,14102100")], "line 2: click is '', not 0 or 1"),
    ],
)
def test_odd_files_are_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        collect(avazu.read(official.write(tmp_path / "files", {"train.csv": lines}), "2026-03-01").frame)


def test_the_test_file_is_not_taken_for_the_training_file(tmp_path):
    folder = official.write(tmp_path / "files", {"test.csv": [HEADER.replace("click,", "")]})
    with pytest.raises(DataError, match=r"files holds no train\.csv or train\.csv\.gz or train\.gz or train; give train\.csv of Avazu"):
        avazu.read(folder, "2026-03-01")
