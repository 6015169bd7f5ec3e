"""Regenerate docs/results.md: make the runs that are missing, then the page.

    AMTL_DATA=FOLDER make results
    python -m benchmarks.results --data FOLDER --only 2 --set frappe --seed 0 --limit-minutes 60
    python -m benchmarks.results --list
    python -m benchmarks.results --page

FOLDER holds the data sets as benchmarks/datasets.py names them. Hours in full; `--quick` takes minutes and writes build/results-quick.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

from amtl.errors import AmtlError, DataError, ParamsError
from benchmarks.results import page
from benchmarks.results.estimate import minutes
from benchmarks.results.experiment import Experiment, Store
from benchmarks.results.plan import FULL, QUICK, Scope, plan

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
CACHE = BUILD / "results-cache"
PARENT = "AMTL_RESULTS_PARENT"
"""Environment variable by which the first process names itself to those it starts."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("AMTL_DATA"), help="folder of the data sets (default: AMTL_DATA)")
    parser.add_argument("--quick", action="store_true", help="few rows, methods and epochs, one seed; writes build/results-quick")
    parser.add_argument("--only", type=int, action="append", choices=range(1, 6), metavar="SECTION", help="runs of this section (1-5)")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME", help="runs on this data set")
    parser.add_argument("--method", action="append", dest="methods", metavar="NAME", help="runs of this method")
    parser.add_argument("--seed", type=int, action="append", dest="seeds", metavar="N", help="runs with this seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes, a core each (default 2)")
    parser.add_argument("--limit-minutes", type=float, help="begin no run after so many minutes")
    parser.add_argument("--list", action="store_true", help="say which runs are wanted, and which are finished")
    parser.add_argument("--page", action="store_true", help="make the page from what is finished, and no run")
    return parser.parse_args()


def main() -> int:
    """Do what the command line asks; 0 if no run failed."""
    options = arguments()
    scope = QUICK if options.quick else FULL
    store = store_of(scope)
    try:
        if options.list:
            say_plan(wanted(options, scope, store), store)
            return 0
        status = 0 if options.page else run(options, scope, store)
        if PARENT not in os.environ:
            print(f"wrote {page.write(scope, store, folder_of(scope)).relative_to(REPOSITORY)}")
        return status
    except AmtlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; finished runs are kept, the same command goes on", file=sys.stderr)
        return 130


def store_of(scope: Scope) -> Store:
    """Committed runs, or those of a quick look."""
    runs = BUILD / "results-quick" / "runs" if scope.quick else REPOSITORY / "benchmarks" / "results" / "runs"
    return Store(runs, CACHE / "locks")


def folder_of(scope: Scope) -> Path:
    """Where the page goes; a quick look never overwrites the published one."""
    return BUILD / "results-quick" if scope.quick else REPOSITORY / "docs"


def wanted(options: argparse.Namespace, scope: Scope, store: Store) -> list[Experiment]:
    """The runs that the command line asks for.

    Raises:
        ParamsError: no run is planned on such a data set, of such a method, or with such a seed.
    """
    found = plan(scope, store.read, options.only)
    known = (*scope.sets, *scope.day_sets)
    if unknown := [name for name in options.sets or () if name not in known]:
        raise ParamsError(f"--set: no data set {', '.join(unknown)}; there are {', '.join(known)}")
    methods = dict.fromkeys(experiment.choice["method"] for experiment in found if "method" in experiment.choice)
    if unknown_methods := [name for name in options.methods or () if name not in methods]:
        raise ParamsError(f"--method: {unknown_methods[0]} is not planned; there are {', '.join(methods)}")
    if unknown_seeds := [seed for seed in options.seeds or () if seed not in range(scope.seeds)]:
        raise ParamsError(f"--seed: {unknown_seeds[0]} is not planned; seeds are 0 to {scope.seeds - 1}")
    return [
        experiment
        for experiment in found
        if (not options.sets or experiment.data in options.sets)
        and (not options.methods or experiment.choice.get("method") in options.methods)
        and (not options.seeds or experiment.seed in options.seeds)
    ]


def run(options: argparse.Namespace, scope: Scope, store: Store) -> int:
    """Make the missing runs in this process, or in several."""
    if options.data is None:
        raise DataError("which folder holds the data sets? Name it with --data FOLDER or AMTL_DATA=FOLDER")
    experiments = wanted(options, scope, store)
    here = computable(experiments)
    if left_out := sorted({experiment.data for experiment in experiments} - {experiment.data for experiment in here}):
        say(f"left out: {', '.join(left_out)}, which were made in bf16; this CPU is twenty times slower in it")
    check_data(here, store, options.data)
    if options.jobs > 1:
        return run_in_several(options.jobs)
    if PARENT in os.environ:
        from amtl.processes import die_with

        die_with(int(os.environ[PARENT]))
    return run_here(options, scope, store)


def run_here(options: argparse.Namespace, scope: Scope, store: Store) -> int:
    """Make the missing runs in this process, on one core."""
    import torch

    from benchmarks.results.measure import Place
    from benchmarks.results.runner import Work, work

    torch.set_num_threads(1)
    until = float("inf") if options.limit_minutes is None else time.monotonic() + 60 * options.limit_minutes
    shared_by = int(os.environ.get("AMTL_RESULTS_JOBS", "1"))
    given = Work(lambda: computable(wanted(options, scope, store)), store, Place(options.data, CACHE), say, until, shared_by)
    work(given)
    return 1 if given.failed else 0


def computable(experiments: list[Experiment]) -> list[Experiment]:
    """The runs that this machine can make as the finished ones were made: in bf16, where settings say so, or not at all."""
    import torch

    from amtl.training.loop import computes_bf16

    return [experiment for experiment in experiments if not experiment.key["train"].get("bf16") or computes_bf16(torch.device("cpu"))]


def run_in_several(jobs: int) -> int:
    """The same command in several processes of one core each, which end with this one."""
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", PARENT: str(os.getpid()), "AMTL_RESULTS_JOBS": str(jobs)}
    command = [sys.executable, "-m", "benchmarks.results", *sys.argv[1:], "--jobs", "1"]
    started = [subprocess.Popen(command, env={**os.environ, **environment}) for _ in range(jobs)]
    try:
        statuses = [process.wait() for process in started]  # a killed process has a negative one
        return int(any(statuses))
    finally:
        for process in started:
            process.terminate()


def check_data(experiments: list[Experiment], store: Store, folder: Path) -> None:
    """Refuse data that are not those of the finished runs.

    Raises:
        DataError: they are not, or are not in the folder.
    """
    from benchmarks.datasets import source_digest

    for name in sorted({experiment.data for experiment in experiments}):
        here = source_digest(name, folder)
        finished = [result for experiment in experiments if experiment.data == name and (result := store.read(experiment))]
        if any(result["data_digest"] != here for result in finished):
            raise DataError(f"{name} in {folder} is not what finished runs were made with; name its folder, or remove {store.runs / name}")


def say_plan(experiments: list[Experiment], store: Store) -> None:
    """Every run with its section, state and minutes; then the sums by section."""
    for experiment in experiments:
        state = "done" if store.read(experiment) else f"{minutes(experiment, store):5.1f} min"
        print(f"({experiment.section}) {state:>9}  {experiment.title}")
    for section in sorted({experiment.section for experiment in experiments}):
        inside = [experiment for experiment in experiments if experiment.section == section]
        left = [experiment for experiment in inside if store.read(experiment) is None]
        hours = sum(minutes(experiment, store) for experiment in left) / 60
        print(f"section {section}: {len(inside) - len(left)} of {len(inside)} runs done, about {hours:.1f} hours of one core left")


def say(line: str) -> None:
    """A line of progress with the time of day (UTC)."""
    print(f"{datetime.datetime.now(datetime.UTC):%H:%M:%S} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
