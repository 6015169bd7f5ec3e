"""The command `amtl`. Thin: each command finds the workspace, calls one function and prints what came out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amtl import environment, files
from amtl.errors import AmtlError, DataError, ParamsError

if TYPE_CHECKING:
    from amtl.sources.mapped.proposal import Wishes
    from amtl.sources.mapped.tables import Table

app = typer.Typer(
    help="Smaller embedding tables at the same AUC: events in, a registered and judged model out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Replace = Annotated[bool, typer.Option("--replace", help="Swap the data set that is here, with its sections of params.yaml.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the ledger.")]


INGEST_EXAMPLES = """
Example: amtl ingest --replace movielens-100k ~/ml-100k

Example: amtl ingest --replace clicks.csv --label click --time ts --field user_id --field item_id --number price

Example: amtl ingest clicks-2026-02-*.csv.gz

Example: amtl ingest ratings.parquet --label 'rating>=4' --dry-run
"""


def _option(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text)


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


@app.command(epilog=INGEST_EXAMPLES)
def ingest(
    what: Annotated[
        list[str], typer.Argument(metavar="[NAME] PATH...", help="A published data set and its path; or files, folders, globs.")
    ],
    label: Annotated[str | None, _option("--label", "COLUMN of 0 and 1, or a rule: 'rating>=4', 'answer=yes'.")] = None,
    time: Annotated[str | None, _option("--time", "COLUMN of the events' time; none for no time.")] = None,
    field: Annotated[
        list[str] | None, _option("--field", "COLUMN, or COLUMN:string, of ids. Given once, what is not named is left out.")
    ] = None,
    number: Annotated[list[str] | None, _option("--number", "COLUMN of numbers.")] = None,
    list_: Annotated[list[str] | None, _option("--list", "COLUMN of lists of ids.")] = None,
    separator: Annotated[str, _option("--separator", "Between the values of a list in a text table.")] = "|",
    name: Annotated[str | None, _option("--name", "Of the data set; else the file's name.")] = None,
    time_format: Annotated[str | None, _option("--time-format", "Such as '%d/%m/%Y %H:%M', where it cannot be told.")] = None,
    time_zone: Annotated[str | None, _option("--time-zone", "Of times that name none, such as Europe/Berlin; else UTC.")] = None,
    split: Annotated[str | None, _option("--split", "random, time or column:NAME.")] = None,
    day_column: Annotated[str | None, _option("--day-column", "COLUMN of the day, where there is no time.")] = None,
    delimiter: Annotated[str | None, _option("--delimiter", "Between the values of a line, where it cannot be told.")] = None,
    header: Annotated[bool | None, typer.Option("--header/--no-header", help="Whether the first line names the columns.")] = None,
    day: Annotated[
        str | None, _option("--day", "YYYY-MM-DD of published rows without times (else today); of day_0 of criteo-terabyte.")
    ] = None,
    replace: Replace = False,
    replace_days: Annotated[bool, typer.Option("--replace-days", help="Let days that are here with other content be replaced.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the events section that would be written, and write nothing.")] = False,
) -> None:
    """Bring data in as day partitions: a published data set by name, or any CSV, Parquet or NDJSON.

    Without a word about columns, files are a later delivery of the data set that is here, and their days are added.
    """
    from amtl.sources.mapped.proposal import Wishes
    from flows import ingest as flow

    fields, numbers, lists = (tuple(columns or ()) for columns in (field, number, list_))
    mark = {"\\t": "\t"}.get(delimiter or "", delimiter)
    wishes = Wishes(label, time, fields, numbers, lists, separator, name, time_format, time_zone, split, day_column, mark, header)
    published, patterns = _published(what)
    if published and wishes.any:
        raise ParamsError(f"options about columns go with files; {published} has a section of its own (--dry-run shows it)")
    if day and not published:
        raise ParamsError("--day goes with published data sets; of other files, --time or --day-column say the days")
    if dry_run:
        _show_section(*flow.dry_run(published, patterns, wishes, day))
        return
    with _workspace() as root, files.workspace_lock(root):
        if published:
            done = flow.published(root, published, Path(patterns[0]), replace, replace_days, day)
        else:
            ask = _ask_for_columns if sys.stdin.isatty() else None
            done = flow.files(root, patterns, wishes, replace, replace_days, ask)
    for line in done.lines():
        typer.echo(line)


@app.command(epilog="Example: amtl fetch --replace movielens-100k && amtl retrain")
def fetch(
    name: Annotated[str, typer.Argument(metavar="movielens-100k|movielens-1m", help="The data set.")],
    replace: Replace = False,
    mirror: Annotated[
        str | None, _option("--from", "URL of another copy of the publisher's zip; its checksum must be the publisher's.")
    ] = None,
) -> None:
    """Download a data set from its publisher, verify it and bring it in; a download that broke off is resumed."""
    from amtl.sources.fetch.publishers import offer
    from flows.fetch import fetched

    terms = offer(name).terms
    with _workspace() as root, files.workspace_lock(root):
        for line in terms:
            typer.echo(line)
        done = fetched(root, name, replace, mirror)
    for line in done.lines():
        typer.echo(line)


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


@app.command(epilog='Example: amtl compare --budgets "10%,2%" --seeds 3')
def compare(
    budgets: Annotated[
        str, _option("--budgets", "Shares of the dense table, or bytes; if none is given that of params.yaml, or 5% where it is auto.")
    ] = "",
    methods: Annotated[str, _option("--methods", "Names, separated by commas, all if none is given; an unknown one lists them.")] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of everything; three show the spread.")] = 1,
    precision: Annotated[str, _option("--precision", "fp32, fp16 or int8, for all; that of params.yaml, int8 where it is mixed.")] = "",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that share the runs, a core each.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="Few rows, one epoch: only to see that it works.")] = False,
    out: Annotated[Path, _option("--out", "Folder of report.html, results.csv and results.json.")] = Path("build/compare"),
) -> None:
    """Put every method side by side on the workspace's data, at equal bytes and equal precision, and recommend one.

    A finished run is kept: interrupted, the same command goes on where it stopped.
    """
    with _workspace() as root, files.workspace_lock(root):
        from amtl import params  # not before: torch reads how its threads are to wait when it is imported
        from amtl.compare.wishes import Wishes
        from amtl.comparison import compare as run

        try:
            advice = run(params.load(root / "params.yaml"), Wishes(budgets, methods, seeds, precision, quick), workers, out)
        except KeyboardInterrupt:
            typer.echo("stopped; finished runs are kept, the same command goes on", err=True)
            raise
    for line in (advice.sentence, *advice.warnings):
        typer.echo(line)
    typer.echo(f"report: {out / 'report.html'}")


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


def _published(what: list[str]) -> tuple[str | None, list[str]]:
    """The name of a published data set, if `what` begins with one, and absolute paths."""
    from amtl.sources.published.registry import PUBLISHED

    name = what[0] if what[0] in PUBLISHED else None
    paths = [str(Path(path).expanduser().absolute()) for path in (what[1:] if name else what)]
    if len(what) == 2 and not name and not Path(paths[0]).exists() and Path(paths[1]).exists():
        raise ParamsError(f"{what[0]} is neither a file nor a published data set; these are known: {', '.join(PUBLISHED)}")
    if name and len(paths) != 1:
        raise ParamsError(f"amtl ingest {name} PATH: give one path, the {PUBLISHED[name].path}")
    return name, paths


def _show_section(section: dict[str, Any], notes: Sequence[str]) -> None:
    """The `events` section on stdout, notes on stderr."""
    from flows.dataset import events_lines

    typer.echo("".join(["events:\n", *events_lines(section)]), nl=False)
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _ask_for_columns(table: Table, wishes: Wishes) -> Wishes:
    """Ask for label and time, show what comes of it, and have it agreed."""
    from amtl.sources.mapped import kinds, tables
    from amtl.sources.mapped.proposal import NO_TIME, propose

    sample = tables.sample(table)
    columns = kinds.describe(sample)
    typer.echo(f"columns: {', '.join(f'{one.name} ({one.kind})' for one in columns.values())}")
    labels, times = kinds.zero_one(columns), kinds.timely(columns)
    label = typer.prompt("label (COLUMN, COLUMN>=4 or COLUMN=yes)", default=labels[0] if len(labels) == 1 else None)
    time = wishes.time or typer.prompt("time (COLUMN or none)", default=times[0] if times else NO_TIME)
    asked = dataclasses.replace(wishes, label=label, time=time)
    proposal = propose(table, sample, asked, wishes.name or table.paths[0].name.partition(".")[0])
    _show_section(proposal.section, proposal.notes)
    if not typer.confirm("bring the data in like this?", default=True):
        raise DataError("nothing was changed; say what the columns are with --label, --time, --field, --number, --list")
    return asked
