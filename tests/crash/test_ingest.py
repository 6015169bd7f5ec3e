"""An ingest that is killed, or meets a full disk, changes nothing; the next one cleans up and ends as one that was never interrupted."""

import signal
import subprocess
import sys

import days
import polars as pl
import pytest

from amtl.data.events import partitions
from amtl.errors import DataError
from amtl.files import remove_leftovers
from amtl.sources.source import Source
from amtl.sources.writing import add_days, write_days

SECTION = {"name": "killed", "label": "click", "fields": [{"name": "user"}]}
ROWS = 50_000
INGEST = """
import resource, signal, sys
from pathlib import Path
import polars as pl
from amtl.errors import DataError
from amtl.sources.source import Source
from amtl.sources.writing import write_days

def stop(rows):
    print("reading\\n", end="", flush=True)
    signal.pause()

source = Source({"label": "click", "fields": [{"name": "user"}]}, pl.scan_parquet(sys.argv[1]), ())
if sys.argv[3] == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_days(source, Path(sys.argv[2]), stop if sys.argv[3] == "stop" else None)
except DataError as error:
    print(error, flush=True)
"""


@pytest.fixture
def source(tmp_path):
    """Three days of events, in no order of days."""
    number = pl.arange(0, ROWS, eager=True).alias("number")
    number.to_frame().select(
        click=pl.col("number") % 2,
        user=pl.col("number").hash(0).cast(pl.String),
        day="2026-02-0" + (pl.col("number") % 3 + 1).cast(pl.String),
    ).write_parquet(tmp_path / "raw.parquet")
    return Source(SECTION, pl.scan_parquet(tmp_path / "raw.parquet"), (tmp_path / "raw.parquet",))


def digests(folder):
    return [(part.day, part.digest) for part in partitions(folder)]


def start(source, folder, how):
    command = [sys.executable, "-c", INGEST, str(source.inputs[0]), str(folder), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def events(tmp_path):
    """An events folder with days of its own."""
    days.days(tmp_path / "data" / "events", 2)
    return tmp_path / "data" / "events"


@pytest.mark.parametrize("again", [write_days, add_days])
def test_a_killed_ingest_changes_nothing_and_the_next_one_completes(source, events, tmp_path, again):
    before = digests(events)
    ingest = start(source, events, "stop")
    assert ingest.stdout.readline() == "reading\n"
    ingest.send_signal(signal.SIGKILL)
    ingest.wait()
    (leftover,) = events.parent.glob(".events.*.tmp")
    assert leftover.is_dir()
    assert digests(events) == before
    again(source, events)
    assert [entry.name for entry in events.parent.iterdir()] == ["events"]
    write_days(source, tmp_path / "whole")
    assert digests(events) == (before if again is add_days else []) + digests(tmp_path / "whole")


def test_a_full_disk_is_one_error_and_changes_nothing(source, events):
    before = digests(events)
    ingest = start(source, events, "full")
    message, _ = ingest.communicate()
    assert message == "the days cannot be written (file too large); make room and run this again; nothing was changed\n"
    assert ingest.returncode == 0
    assert digests(events) == before
    assert [entry.name for entry in events.parent.iterdir()] == ["events"]


def test_an_old_folder_that_had_stepped_aside_comes_back(events):
    before = digests(events)
    aside = events.parent / ".events.x.old"
    aside.mkdir()
    events.rename(aside / "events")
    remove_leftovers(events)
    assert digests(events) == before
    assert not aside.exists()


def test_an_error_while_reading_changes_nothing(source, events):
    before = digests(events)
    broken = Source(SECTION, source.frame.with_columns(pl.col("user").cast(pl.Int8)), ())
    with pytest.raises(DataError, match="nothing was changed"):
        add_days(broken, events)
    assert digests(events) == before
    assert [entry.name for entry in events.parent.iterdir()] == ["events"]
