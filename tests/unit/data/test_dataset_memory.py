"""Encoding events, and going over the encoded rows, hold as much memory for many events as for few."""

import os
import subprocess
import sys
from pathlib import Path

import days
import numpy as np
import polars as pl
import pytest

ENCODE_AND_ITERATE = """
import sys
from pathlib import Path
import days
from amtl.data import encoded
from amtl.data.batches import Scaling
from amtl.data.dataset import Encoding, encoded_rows
from amtl.data.events import partitions
from amtl.data.split import SplitBounds
from amtl.data.vocabulary import Vocabulary
encoded.BUFFER_BYTES = 2**21
root = Path(sys.argv[1])
fields = [{"name": f"id{n}", "type": "integer"} for n in range(16)]
events = days.events(time=None, split={"kind": "random", "test": 0.01, "validation": 0.01}, fields=fields)
vocabulary = Vocabulary.empty(events)
encoding = Encoding(partitions(root / "events"), events, SplitBounds(), Scaling(), vocabulary.lookup, vocabulary.rows, "none")
rows = encoded_rows(encoding, "train", root / "cache", print)
assert sum(len(batch) for batch in rows.shuffled(4096, 0, 0)) == len(rows) > 200_000
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def peak(root: Path) -> float:
    """Most memory that a process held at once, MiB; not `ru_maxrss`, which begins at what its parent held."""
    environment = os.environ | {"PYTHONPATH": str(Path(days.__file__).parent), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
    command = [sys.executable, "-c", ENCODE_AND_ITERATE, str(root)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert found.returncode == 0, found.stderr
    return int(found.stdout.split()[-1]) / 1024


def write_days(root: Path, number: int) -> None:
    """Raw days of the same 100,000 events."""
    random, rows = np.random.default_rng(0), 100_000
    ids = {f"id{n}": random.integers(0, 2**40, rows) for n in range(16)}
    first = days.write(root / "events", 0, pl.DataFrame({**ids, "click": random.integers(0, 2, rows)}))
    for day in range(1, number):
        other = first.parent.parent / f"date=2026-01-{day + 1:02d}" / first.name
        other.parent.mkdir()
        other.hardlink_to(first)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the most memory that a process held")
def test_many_events_take_no_more_memory_than_few(tmp_path):
    """27 days are 293 MiB of raw ids more than 3 days, and 146 MiB of encoded ones."""
    write_days(tmp_path / "few", 3)
    write_days(tmp_path / "many", 27)
    assert peak(tmp_path / "many") - peak(tmp_path / "few") < 110
