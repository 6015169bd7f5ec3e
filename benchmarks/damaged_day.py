"""A day with five kinds of damage, made from the bundled sample, and what validation says of it: the picture in docs/validation.md.

    python -m benchmarks.damaged_day --screenshot docs/data-docs.png

Fourteen days of the sample are written to a temporary folder (or to --workspace), the newest is spoilt, and all are judged by
the params.yaml and expectations.yaml that lie here. The picture is taken offline, by chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from amtl import params
from amtl.data.events import partitions
from amtl.errors import ValidationError
from amtl.files import publish
from amtl.sources.sample import write_sample
from amtl.validation.skipped import SkippedDays
from amtl.validation.suite import Suite
from amtl.validation.validate import validate

DAYS, ROWS = 14, 10_000
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
OFFLINE = ("--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND")


def spoil(frame: pl.DataFrame) -> pl.DataFrame:
    """The day with five kinds of damage.

    A tenth of the clicks are counted twice (label 2); some prices are infinite or negative; a batch of events is a week late; one
    writer has broken the text of a category; and item ids of another catalogue have slipped in.
    """
    row, text = pl.int_range(pl.len()), pl.col("category")
    return frame.with_columns(
        click=pl.when(pl.col("click").eq(1) & (row % 10 == 0)).then(2).otherwise("click").cast(pl.Int8),
        price=pl.when(row % 400 == 7).then(float("inf")).when(row % 400 == 9).then(-1.0).otherwise("price"),
        timestamp=pl.when(row >= ROWS - 120).then(pl.col("timestamp").dt.offset_by("-7d")).otherwise("timestamp"),
        category=pl.when(row % 250 == 3).then(text.str.replace("-", "\N{REPLACEMENT CHARACTER}")).otherwise(text),
        item_id=pl.when(row % 25 == 1).then(pl.lit("<b>sku</b> ") + pl.col("item_id")).otherwise("item_id"),
    )


def judge(root: Path) -> str:
    """Judge the spoilt sample in `root`; returns the message of the refusal."""
    write_sample(root / "events", days=DAYS, rows_per_day=ROWS)
    newest = partitions(root / "events")[-1].files[0]
    publish(newest, spoil(pl.read_parquet(newest, hive_partitioning=False)).write_parquet)
    settings = params.load(Path("params.yaml"))
    suite = Suite.read(Path("expectations.yaml"), settings.events)
    try:
        validate(partitions(root / "events"), SkippedDays(), suite, settings.events, settings.validate_, root / "cache", root / "validate")
    except ValidationError as error:
        return str(error)
    raise SystemExit("the spoilt day was accepted")


def photograph(page: Path, picture: Path, height: int) -> None:
    """Let chromium open a page without network, and take a picture of it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("the picture needs chromium; without --screenshot the pages are made and can be opened in any browser")
    with tempfile.TemporaryDirectory() as user:
        size = (f"--user-data-dir={user}", f"--window-size=1400,{height}", f"--screenshot={picture.resolve()}")
        subprocess.run([chromium, *QUIET, *OFFLINE, *size, page.resolve().as_uri()], check=True, timeout=60, stderr=subprocess.DEVNULL)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="keep everything in this folder")
    parser.add_argument("--screenshot", type=Path, help="the PNG to write")
    parser.add_argument("--height", type=int, default=1700, help="of the picture, in pixels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.workspace or Path(temporary)
        sys.stdout.write(judge(root) + "\n")
        page = root / "validate" / "data_docs" / "index.html"
        if options.screenshot:
            photograph(page, options.screenshot, options.height)


if __name__ == "__main__":
    main()
