"""Where the time of the pipeline goes: a first retraining of the bundled sample, a no-op `dvc repro`, a no-op retraining.

    python -m benchmarks.pipeline --out RESULTS.json

Runs in a clone of this repository in a temporary folder, with the environment that runs this script. Wall seconds of whole
processes, one run of the first, the median of three of the others.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from amtl.environment import variables
from amtl.files import publish_json, read_json
from benchmarks.machine import describe_machine

REPOSITORY = Path(__file__).resolve().parent.parent
STARTED = re.compile(r"^(\d\d:\d\d:\d\d\.\d{3}).*'stage-(\w+)' - stage \d+ of")
FINISHED = re.compile(r"^(\d\d:\d\d:\d\d\.\d{3}).*'stage-(\w+)' - Finished")


def timed(command: list[str], root: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Wall seconds and output of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return time.perf_counter() - start, done.stdout


def stage_seconds(log: str) -> dict[str, float]:
    """Seconds between a stage's first and last line in the flow's log."""
    moments: dict[str, list[datetime]] = {}
    for line in log.splitlines():
        if match := STARTED.match(line) or FINISHED.match(line):
            moments.setdefault(match[2], []).append(datetime.strptime(match[1], "%H:%M:%S.%f"))
    return {name: (last - first).total_seconds() for name, (first, last) in moments.items()}


def measure(root: Path) -> dict[str, Any]:
    """The three figures, in a fresh clone at `root`."""
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(root)], check=True)
    environment = {**os.environ, **variables(root)}
    programs = Path(sys.executable).parent
    timed([str(programs / "dvc"), "pull", "data.dvc"], root, environment)
    retrain, repro = [str(programs / "amtl"), "retrain"], [str(programs / "dvc"), "repro"]
    first, log = timed(retrain, root, environment)
    return {
        "first_retrain_s": first,
        "stages_s": stage_seconds(log),
        "noop_repro_s": statistics.median(timed(repro, root, environment)[0] for _ in range(3)),
        "noop_retrain_s": statistics.median(timed(retrain, root, environment)[0] for _ in range(3)),
        "metrics": read_json(root / "build" / "evaluate" / "metrics.json"),
    }


def main() -> None:
    """Run and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder) / "amtl")
    publish_json(options.out, {"machine": describe_machine(), "results": result})


if __name__ == "__main__":
    main()
