"""The command `amtl`. Thin: each command finds the workspace, calls one function and prints what came out."""

from __future__ import annotations

import contextlib
import enum
import functools
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from amtl import environment, files
from amtl.errors import AmtlError

app = typer.Typer(
    help="Smaller embedding tables at the same AUC: events in, a registered and judged model out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Replace = Annotated[bool, typer.Option("--replace", help="Swap the data set that is here, with its sections of params.yaml.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the ledger.")]


class Source(enum.StrEnum):
    """Data sets that `amtl ingest` can read."""

    movielens_100k = "movielens-100k"


@app.command(epilog="Example: amtl sample --next-day && amtl retrain")
def sample(
    next_day: Annotated[bool, typer.Option("--next-day", help="Add the day after the newest one to the sample that is here.")] = False,
    days: Annotated[int, typer.Option(min=1, help="Days to write.")] = 20,
    rows_per_day: Annotated[int, typer.Option(min=1, help="Events a day.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another world.")] = 0,
    shuffle_labels: Annotated[bool, typer.Option("--shuffle-labels", help="Leave nothing to learn: AUC .5.")] = False,
    replace: Replace = False,
) -> None:
    """Write synthetic events that look like the real thing, whose best reachable AUC is known."""
    from amtl.sources.sample import EVENTS, write_sample
    from flows import dataset

    write = functools.partial(write_sample, days=days, rows_per_day=rows_per_day, seed=seed, shuffle_labels=shuffle_labels)
    with _workspace() as root, files.workspace_lock(root):
        report = dataset.next_day(root) if next_day else dataset.install(root, EVENTS, write, replace)
    span = report.days[0] if len(report.days) == 1 else f"{report.days[0]} to {report.days[-1]}"
    typer.echo(f"wrote {report.rows:,} events ({span}), {report.bytes / 1e6:.1f} MB, label rate {report.label_rate:.3f}")
    typer.echo(f"best AUC that a model can be expected to reach on the newest tenth: {report.ceiling_auc:.4f}")
    typer.echo("data.dvc pins them; next: amtl retrain")


@app.command(epilog="Example: amtl ingest --replace movielens-100k ~/ml-100k && amtl retrain")
def ingest(
    source: Annotated[Source, typer.Argument(help="The data set.")],
    path: Annotated[Path, typer.Argument(help="The folder with its official files.", resolve_path=True)],
    replace: Replace = False,
) -> None:
    """Bring a published data set in as day partitions."""
    from amtl.sources.published import READERS
    from amtl.sources.writing import write_days
    from flows import dataset

    with _workspace() as root, files.workspace_lock(root):
        data = READERS[source.value](path, datetime.now(UTC).date().isoformat())
        dataset.install(root, data.section, functools.partial(write_days, data), replace)
    typer.echo(f"{source.value} is in data/events; data.dvc pins it; next: amtl retrain")


@app.command(epilog='Example: amtl skip-day 2026-01-14 --why "the tracker counted every click twice"')
def skip_day(
    day: Annotated[str, typer.Argument(metavar="YYYY-MM-DD", help="The day.")],
    why: Annotated[str, typer.Option("--why", help="The reason, for the record and the report.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the day in again.")] = False,
) -> None:
    """Leave a day out of everything, on the record: a refused one, or a good one that is to be taken back."""
    from flows import skip

    with _workspace() as root, files.workspace_lock(root):
        if undo:
            skip.take_back(root, day)
            typer.echo(f"{day} is taken in again; next: amtl retrain, which judges it")
        else:
            entry = skip.skip(root, day, why)
            typer.echo(f"{day} is left out while its content is {entry.digest[:12]}: {entry.why}")
            typer.echo("skipped_days.yaml records it, for you to commit; next: amtl retrain")


@app.command(epilog="Example: amtl retrain")
def retrain() -> None:
    """Run the stages that are not up to date, register the result, judge it; PROMOTE makes it the champion."""
    with _workspace() as root:
        from amtl import params

        params.load(root / "params.yaml")
        from flows import progress, server
        from flows.retrain import retrain as flow
        from flows.states import outcome

        with server.api(), progress.shown():
            state = flow(return_state=True)
        release = outcome(state)
    stands = "" if release.new else "nothing new to register: "
    typer.echo(f"{stands}version {release.version} of {release.name}: {release.decision}")
    for reason in release.reasons:
        typer.echo(f"  {reason}")
    typer.echo("report: build/report.html")


@app.command(epilog='Example: amtl promote 3 --force --why "agreed with the ranking team"')
def promote(
    version: Annotated[int | None, typer.Argument(help="The version; the challenger if none is given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote whatever the gate says; needs --why.")] = False,
    why: Why = "",
) -> None:
    """Judge a version again on the rows of today and make it the champion; HOLD and REJECT exit with 1."""
    from flows.promote import promote_version

    with _workspace() as root:
        champion = promote_version(root, version, force, why)
    typer.echo(f"version {champion.number} of {champion.name} is the champion")


@app.command(epilog='Example: amtl rollback --why "clicks fell by a tenth since noon"')
def rollback(
    to: Annotated[int | None, typer.Argument(help="The version to go back to; the champion before this one if none is given.")] = None,
    why: Why = "by hand",
) -> None:
    """Make the champion before this one the champion again, once it has been loaded and asked."""
    from flows.rollback import roll_back

    with _workspace() as root:
        champion = roll_back(root, why, to)
    typer.echo(f"version {champion.number} of {champion.name} is the champion again")


@app.command(epilog="Example: amtl parent none && amtl retrain")
def parent(which: Annotated[str, typer.Argument(metavar="champion|none|VERSION", help="What the next training starts from.")]) -> None:
    """Pin the version that the next training starts from in parent.lock."""
    from flows.parent import pin

    with _workspace() as root, files.workspace_lock(root):
        pinned = pin(root, which).parent
    typer.echo(f"parent.lock pins version {pinned.version} of {pinned.name}" if pinned else "parent.lock pins none: a cold start")


@app.command(epilog="Example: amtl status")
def status() -> None:
    """Show the data, the stages, the parent, the champion and the challenger."""
    from flows.status import lines

    with _workspace() as root:
        for line in lines(root):
            typer.echo(line)


@app.command(epilog="Example: amtl inspect 3")
def inspect(
    what: Annotated[str, typer.Argument(metavar="[BUNDLE|VERSION]", help="A bundle's folder, or a version.")] = "build/compress/bundle",
) -> None:
    """Verify a bundle and show what is in it."""
    from amtl.inspection import lines

    folder = Path(what).resolve()
    with contextlib.ExitStack() as stack:
        if what.isdigit() and not folder.exists():
            folder = _fetched(int(what), stack)
        elif not folder.exists():
            folder = stack.enter_context(_workspace()) / what
        for line in lines(folder):
            typer.echo(line)


@app.command(epilog='Example: eval "$(amtl env)" && dvc repro')
def env() -> None:
    """Print the environment for bare dvc, mlflow and prefect, for `eval`."""
    root = environment.find_root(Path.cwd())
    environment.make_folders(root)
    typer.echo(environment.export_lines(root), nl=False)


def main() -> None:
    """Run the command line; what a user can cause or meet is one line on stderr and exit code 1."""
    try:
        app()
    except (AmtlError, OSError) as error:
        typer.echo(f"amtl: error: {error}", err=True)
        raise SystemExit(1) from None


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    """The workspace that holds the current folder, as the current folder, with the environment of its tools."""
    root = environment.find_root(Path.cwd())
    environment.apply(root)
    with contextlib.chdir(root):
        yield root


def _fetched(number: int, stack: contextlib.ExitStack) -> Path:
    """The bundle of a registered version, in a folder that goes with `stack`."""
    from amtl import params
    from amtl.release import registry

    root = stack.enter_context(_workspace())
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amtl-")))
    return registry.fetch(params.load(root / "params.yaml").register_.name, number, "bundle", folder / f"version-{number}")
