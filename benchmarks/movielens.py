"""MovieLens-100K through the stages, three seeds, split by time and at random, beside one-hot logistic regression.

    python -m benchmarks.movielens --data FOLDER --out RESULTS.json

FOLDER holds u.data, u.user and u.item. Each run is `dvc repro` in a temporary workspace.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from amtl.environment import variables
from amtl.files import publish_json, read_json
from benchmarks.machine import describe_machine
from benchmarks.pipeline import REPOSITORY


def run(root: Path, split: str, seed: int) -> dict[str, Any]:
    """Metrics of one split and seed in the workspace `root`."""
    path = root / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["events"]["split"]["kind"], settings["train"]["seed"] = split, seed
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    programs = Path(sys.executable).parent
    subprocess.run([str(programs / "dvc"), "repro"], cwd=root, env={**os.environ, **variables(root)}, check=True)
    return {"split": split, "seed": seed, "metrics": read_json(root / "build" / "evaluate" / "metrics.json")}


def main() -> None:
    """Run what the command line asks for and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "amtl"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(root)], check=True)
        (root / ".mlflow").mkdir()
        ingest = [str(Path(sys.executable).parent / "amtl"), "ingest", "--replace", "movielens-100k", str(options.data.resolve())]
        subprocess.run(ingest, cwd=root, env={**os.environ, **variables(root)}, check=True)
        for split in ("time", "random"):
            for seed in range(options.seeds):
                results.append(run(root, split, seed))
                publish_json(options.out, {"machine": describe_machine(), "results": results})


if __name__ == "__main__":
    main()
