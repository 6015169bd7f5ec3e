"""Verdicts on days, kept by content: a day that was accepted is not judged again while all that its verdict depends on is the same.

A verdict is a folder named by its key, with a manifest; one that is damaged counts as none. Its samples of values are read only when
a new day is compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import polars as pl

from amtl.data.columns import columns
from amtl.data.events import Partition, soundness
from amtl.errors import ArtifactError
from amtl.files import (
    code_digest,
    digest_of,
    prune,
    publish_copy,
    publish_folder,
    publish_json,
    read_json,
    verify_manifest,
    write_manifest,
)
from amtl.params import EventsParams, ValidateParams
from amtl.validation import values
from amtl.validation.checks import Finding
from amtl.validation.profile import SCHEMA
from amtl.validation.suite import Suite

KEPT_DAYS = 30
LINES, SAMPLES, FINDINGS, QUARANTINE = "profile.parquet", "values.parquet", "findings.json", "quarantine.parquet"


@dataclass(frozen=True)
class Verdict:
    """What was found of a day.

    Attributes:
        day: such as "2026-01-31".
        lines: its profile (`profile.SCHEMA`), compared with the days before it.
        findings: what is wrong with it.
        preceding: the days that it was compared with.
        folder: where it is kept; None for one just made, which has `made`.
        made: its samples of values.
    """

    day: str
    lines: pl.DataFrame
    findings: tuple[Finding, ...] = ()
    preceding: tuple[str, ...] = ()
    folder: Path | None = None
    made: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @cached_property
    def samples(self) -> Mapping[str, pl.DataFrame]:
        """Samples of the values of id columns."""
        if self.folder is None:
            return self.made
        stored = pl.read_parquet(self.folder / SAMPLES, glob=False, hive_partitioning=False)
        return {str(name): sample.drop("column") for (name,), sample in stored.partition_by("column", as_dict=True).items()}

    @property
    def refused(self) -> bool:
        """Whether the day must not be used."""
        return any(finding.severity == "critical" for finding in self.findings)

    @property
    def rows(self) -> int:
        """Rows of the day."""
        return int(self.lines["rows"][0]) if len(self.lines) else 0

    @property
    def quarantined(self) -> int:
        """Rows of the day that are left out."""
        return int(self.lines["quarantined"][0] or 0) if len(self.lines) else 0


def key(part: Partition, suite: Suite, events: EventsParams, params: ValidateParams) -> str:
    """Digest of all that a verdict depends on: content, declaration, limits, expectations, and the source of what judges."""
    declared = [[column.name, column.optional] for column in columns(events)]
    settings = [soundness(events), declared, events.compare_days, params.model_dump(mode="json"), suite.digest]
    return digest_of(
        [part.day, part.digest, *settings, code_digest("amtl.data", "amtl.validation"), pl.__version__, version("great_expectations")]
    )


def keep(verdict: Verdict, quarantine: Path, folder: Path) -> None:
    """Keep a verdict in a folder, with the quarantine if any row is in it."""
    with publish_folder(folder) as temporary:
        verdict.lines.write_parquet(temporary / LINES)
        samples = [sample.select(pl.lit(name).alias("column"), *values.SCHEMA) for name, sample in verdict.made.items()]
        pl.concat([pl.DataFrame(schema={"column": pl.String, **values.SCHEMA}), *samples]).write_parquet(temporary / SAMPLES)
        findings = [[finding.column, finding.severity, finding.text] for finding in verdict.findings]
        publish_json(temporary / FINDINGS, {"findings": findings, "preceding": verdict.preceding})
        if verdict.quarantined:
            publish_copy(temporary / QUARANTINE, quarantine)
        write_manifest(temporary)


def kept(day: str, folder: Path) -> Verdict | None:
    """The verdict that is kept in a folder; None if there is none or it is damaged."""
    if not folder.is_dir():
        return None
    try:
        verify_manifest(folder)
        lines = pl.read_parquet(folder / LINES, glob=False, hive_partitioning=False)
        told = read_json(folder / FINDINGS)
    except (ArtifactError, OSError, pl.exceptions.PolarsError):
        return None
    findings = tuple(Finding(day, column, severity, text) for column, severity, text in told["findings"])
    return Verdict(day, lines, findings, tuple(told["preceding"]), folder) if lines.schema == SCHEMA else None


def lay_down_quarantine(verdict: Verdict, path: Path) -> None:
    """Copy the kept quarantine of a kept verdict."""
    if verdict.folder is not None:
        publish_copy(path, verdict.folder / QUARANTINE)


def forget(folder: Path, used: Sequence[str]) -> None:
    """Remove the verdicts that no present day uses and that are older than `KEPT_DAYS`."""
    prune(folder, used, KEPT_DAYS)
