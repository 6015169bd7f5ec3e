"""Which days may be used: every new day is profiled and judged once, and its verdict kept under its content's digest.

A verdict is kept only of days that passed. It is used again while the day's content, the declared schema, the limits and
the suite of checks are the same; when no day is new, Great Expectations is not even imported.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data import checks, expectations
from amtl.data.checks import Finding
from amtl.data.documents import DayDocument, publish_index
from amtl.data.events import Partition, scan
from amtl.data.profile import DAY, SCHEMA, profile
from amtl.data.skipped import SkippedDay, SkippedDays
from amtl.data.suite import Suite
from amtl.errors import DataError, ValidationError
from amtl.files import digest_of, publish, publish_folder, publish_json, sha256
from amtl.params import EventsParams, ValidateParams

METADATA = "amtl.warnings"
DOCUMENTS = "data_docs"
MOST_LISTED = 20


@dataclass(frozen=True)
class Verdict:
    """A day that passed: its profile (`profile.SCHEMA`) and the warnings it got."""

    profile: pl.DataFrame
    warnings: tuple[str, ...]


def validate(
    parts: Sequence[Partition],
    skipped: SkippedDays,
    suite: Suite,
    events: EventsParams,
    params: ValidateParams,
    cache: Path,
    output: Path,
) -> dict[str, Any]:
    """Judge the days that were not judged before.

    Args:
        parts: all partitions.
        skipped: the record of days that are left out; they are not judged.
        suite: what the user expects of the rows.
        events: the declared schema.
        params: the limits.
        cache: folder of the kept verdicts (`validate/` below it); damaged ones are made again.
        output: gets `accepted.json` (days and digests that may be used, only if all passed), `report.json`,
            `profile.parquet` and `data_docs/` (of the latest days judged).

    Returns:
        The report: `rows` of each day, `skipped` days, `warnings`, `extra_columns` that no one declared; and, not in the file, since a
        rerun must give the same: `validated` and `reused` days.

    Raises:
        ValidationError: days are unfit; every critical finding is listed. Their documents are written nevertheless.
        DataError: all days together do not fit one schema; or every day is skipped.
        ParamsError: the suite is wrong.
    """
    (output / "accepted.json").unlink(missing_ok=True)
    left_out, parts = skipped.within(parts), skipped.used(parts)
    if not parts:
        raise DataError("every day is skipped, so there is nothing to train on; take one back: amtl skip-day DAY --undo")
    keys = {part.day: cache / "validate" / f"{_key(part, suite, events, params)}.parquet" for part in parts}
    kept = {day: verdict for day, path in keys.items() if (verdict := _read(path)) is not None}
    new = [part for part in parts if part.day not in kept]
    fresh = _judge(new, suite, events, params, cache / "validate" / DOCUMENTS, output) if new else {}
    for day, verdict in fresh.items():
        _write(verdict, keys[day])
    scan(parts, events)
    verdicts = {part.day: (kept | fresh)[part.day] for part in parts}
    report = _report(verdicts, left_out)
    _copy_documents(cache / "validate" / DOCUMENTS, output)
    profiles = pl.concat([verdict.profile for verdict in verdicts.values()])
    publish(output / "profile.parquet", lambda temporary: profiles.write_parquet(temporary))
    publish_json(output / "report.json", report)
    accepted = [{"day": part.day, "digest": part.digest, "rows": report["rows"][part.day]} for part in parts]
    publish_json(output / "accepted.json", {"partitions": accepted, "skipped": report["skipped"]})
    return report | {"validated": list(fresh), "reused": [day for day in verdicts if day not in fresh]}


def _judge(
    parts: Sequence[Partition], suite: Suite, events: EventsParams, params: ValidateParams, documents: Path, output: Path
) -> dict[str, Verdict]:
    """The verdicts of days that all passed; their Data Docs are published in `documents`."""
    expectations.verify(suite, events)
    unreadable, profiles = [], {}
    for part in parts:
        try:
            profiles[part.day] = profile(part, events)
        except DataError as error:
            unreadable.append(Finding(part.day, DAY, "critical", str(error)))
    findings: list[Finding] = []
    if profiles:
        with publish_folder(documents) as folder:
            findings = expectations.judge(pl.concat(profiles.values()), {}, checks.checks(events, params), suite, events, folder)
            publish_index(folder, events.name, _documents(profiles, findings), suite)
    critical = unreadable + [finding for finding in findings if finding.severity == "critical"]
    if critical:
        _refuse(critical, documents if profiles else None, output)
    warnings = {day: tuple(str(finding) for finding in findings if finding.day == day) for day in profiles}
    return {day: Verdict(found, warnings[day]) for day, found in profiles.items()}


def _documents(profiles: dict[str, pl.DataFrame], findings: Sequence[Finding]) -> list[DayDocument]:
    """What the Data Docs say of the days that were judged."""
    told = []
    for day, lines in profiles.items():
        own = [finding for finding in findings if finding.day == day]
        refused = any(finding.severity == "critical" for finding in own)
        told.append(DayDocument(day, "refused" if refused else "accepted", int(lines["rows"][0]), findings=own))
    return told


def _refuse(critical: Sequence[Finding], documents: Path | None, output: Path) -> None:
    """Leave the report and the documents for reading, and raise."""
    publish_json(
        output / "report.json",
        {"refused": sorted({finding.day for finding in critical}), "problems": [str(finding) for finding in critical]},
    )
    if documents is not None:
        _copy_documents(documents, output)
    listed = [str(finding) for finding in critical[:MOST_LISTED]]
    more = f"; and {len(critical) - MOST_LISTED} more, all of them in {output / 'report.json'}" if len(critical) > MOST_LISTED else ""
    if len(critical) == 1:
        raise ValidationError(f"the events are refused: {listed[0]}")
    numbered = "; ".join(f"({number}) {text}" for number, text in enumerate(listed, start=1))
    raise ValidationError(f"the events are refused for {len(critical)} reasons: {numbered}{more}")


def _report(verdicts: dict[str, Verdict], left_out: Sequence[SkippedDay]) -> dict[str, Any]:
    rows = {day: int(verdict.profile.filter(pl.col("column") == DAY)["rows"].item()) for day, verdict in verdicts.items()}
    extra = {name for verdict in verdicts.values() for name in verdict.profile.filter(pl.col("status") == "extra")["column"]}
    return {
        "skipped": [{"day": entry.day, "digest": entry.digest, "why": entry.why} for entry in left_out],
        "warnings": [warning for verdict in verdicts.values() for warning in verdict.warnings],
        "extra_columns": sorted(extra),
        "rows": rows,
    }


def _copy_documents(documents: Path, output: Path) -> None:
    """The latest Data Docs, if there are any (the cache may have been emptied)."""
    if documents.is_dir():
        with publish_folder(output / DOCUMENTS) as folder:
            shutil.copytree(documents, folder, dirs_exist_ok=True)


def _key(part: Partition, suite: Suite, events: EventsParams, params: ValidateParams) -> str:
    """Digest of all that a verdict depends on, the source of the checks among it."""
    declared = events.model_dump(mode="json", include={"label", "time", "fields"}) | {"column": events.split.column}
    code = [sha256(Path(str(module.__file__))) for module in (checks, expectations)]
    return digest_of([part.day, part.digest, declared, params.model_dump(mode="json"), suite.digest, code, list(SCHEMA.names())])


def _write(verdict: Verdict, path: Path) -> None:
    metadata = {METADATA: json.dumps(verdict.warnings)}
    publish(path, lambda temporary: verdict.profile.write_parquet(temporary, metadata=metadata))


def _read(path: Path) -> Verdict | None:
    """A kept verdict; None if there is none or it is damaged."""
    if not path.exists():
        return None
    try:
        found = pl.read_parquet(path, glob=False, hive_partitioning=False)
        warnings = tuple(str(warning) for warning in json.loads(pl.read_parquet_metadata(path)[METADATA]))
    except (OSError, pl.exceptions.PolarsError, KeyError, ValueError):
        return None
    return Verdict(found, warnings) if found.schema == SCHEMA else None
