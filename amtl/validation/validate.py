"""Which days may be used: every new day is profiled and judged once, and a verdict that accepts it is kept (`verdicts`).

A day is refused as a whole, until its files are mended (then it has another digest) or it is skipped; days that were accepted in
the same run are not judged again. When no day is new, Great Expectations is not even imported.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.events import Partition, scan, soundness
from amtl.errors import DataError, ValidationError
from amtl.files import digest_of, publish, publish_folder, publish_json
from amtl.params import EventsParams, ValidateParams
from amtl.validation import expectations, history, quarantine, verdicts
from amtl.validation.checks import USUAL, Check, Finding, breaks, checks
from amtl.validation.documents import DayDocument, publish_index
from amtl.validation.profile import DAY, SCHEMA, profile, sample
from amtl.validation.skipped import SkippedDay, SkippedDays
from amtl.validation.suite import Suite
from amtl.validation.verdicts import Verdict

DOCUMENTS, QUARANTINE = "data_docs", "quarantine"
MOST_LISTED = 20
EXAMPLES = 5


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
        output: gets `accepted.json` (days and digests that may be used, only if all passed), `report.json`, `profile.parquet`,
            `quarantine/date=DAY.parquet` of every day with rows that are not sound, and `data_docs/`.

    Returns:
        The report: `refused` and `skipped` days, `problems` (critical findings) and `warnings`, `extra_columns` that no one
        declared; by day, the number of `rows` that count, and of `quarantined` rows by their reason. And, not in the file, since a
        rerun must give the same: `validated` and `reused` days.

    Raises:
        ValidationError: days are unfit; every critical finding is listed. Report, documents and quarantine are written nevertheless.
        DataError: all days together do not fit one schema; or every day is skipped.
        ParamsError: the suite is wrong.
    """
    (output / "accepted.json").unlink(missing_ok=True)
    shutil.rmtree(output / QUARANTINE, ignore_errors=True)
    left_out, used = skipped.within(parts), skipped.used(parts)
    if not used:
        raise DataError("every day is skipped, so there is nothing to train on; take one back: amtl skip-day DAY --undo")
    folders = {part.day: cache / "validate" / verdicts.key(part, suite, events, params) for part in used}
    kept = {day: verdict for day, folder in folders.items() if (verdict := verdicts.kept(day, folder)) is not None}
    with publish_folder(output / DOCUMENTS) as documents:
        fresh = _judge(used, kept, suite, events, params, documents, output / QUARANTINE)
        judged = [(kept | fresh)[part.day] for part in used]
        publish_index(documents, events.name, _documents(judged, left_out, set(fresh), output / QUARANTINE), suite)
    for day, verdict in fresh.items():
        if not verdict.refused:
            verdicts.keep(verdict, _quarantine_of(output / QUARANTINE, day), folders[day])
    verdicts.forget(cache / "validate", [folder.name for folder in folders.values()])
    report = _report(judged, left_out, output / QUARANTINE)
    publish(output / "profile.parquet", lambda temporary: pl.concat([one.lines for one in judged]).write_parquet(temporary))
    publish_json(output / "report.json", report)
    _refuse([finding for verdict in judged for finding in verdict.findings if finding.severity == "critical"], output)
    scan(used, events)
    publish_json(output / "accepted.json", _accepted(used, report, events))
    return report | {"validated": list(fresh), "reused": list(kept)}


def _judge(
    used: Sequence[Partition],
    kept: Mapping[str, Verdict],
    suite: Suite,
    events: EventsParams,
    params: ValidateParams,
    documents: Path,
    quarantined: Path,
) -> dict[str, Verdict]:
    """The verdicts of the days that have none, in order; rows that are not sound are written to the quarantine."""
    for day, verdict in kept.items():
        if verdict.quarantined:
            verdicts.lay_down_quarantine(verdict, _quarantine_of(quarantined, day))
    new = [part for part in used if part.day not in kept]
    if not new:
        return {}
    expectations.verify(suite, events)
    bounds = checks(events, params)
    found = _profiled(used, kept, bounds, events, params)
    readable = {part.day: part for part in new if len(found[part.day].lines)}
    samples: dict[str, pl.DataFrame] = {}
    for day, part in readable.items():
        try:
            if found[day].quarantined:
                quarantine.write(part, events, _quarantine_of(quarantined, day))
            if suite.entries:
                samples[day] = sample(part, params.sample_rows)
        except DataError as error:  # a column is damaged that no one declared, so that the profile did not read it
            found[day] = _unreadable(day, error)
    lines = pl.concat([verdict.lines for verdict in found.values()])
    if lines.is_empty():
        return found
    findings = expectations.judge(lines, samples, bounds, suite, events, documents)
    return {day: replace(verdict, findings=(*verdict.findings, *_of(day, findings))) for day, verdict in found.items()}


def _profiled(
    used: Sequence[Partition], kept: Mapping[str, Verdict], bounds: Sequence[Check], events: EventsParams, params: ValidateParams
) -> dict[str, Verdict]:
    """The profiles of the days without a verdict, each compared with the days before it that break no critical check.

    Great Expectations judges them all together afterwards; what comes before a day must be known now.
    """
    found: dict[str, Verdict] = {}
    preceding: list[Verdict] = []
    for part in used:
        if part.day in kept:
            preceding.append(kept[part.day])
            continue
        compared = preceding[-params.history :]
        try:
            seen = history.compare(profile(part, events), compared)
        except DataError as error:
            found[part.day] = _unreadable(part.day, error)
            continue
        found[part.day] = Verdict(part.day, seen.lines, preceding=tuple(past.day for past in compared), made=seen.samples)
        critical = [check for check in bounds if check.severity == "critical"]
        if not any(breaks(check, line) for line in seen.lines.iter_rows(named=True) for check in critical):
            preceding.append(found[part.day])
    return found


def _unreadable(day: str, error: DataError) -> Verdict:
    return Verdict(day, pl.DataFrame(schema=SCHEMA), (Finding(day, DAY, "critical", str(error)),))


def _of(day: str, findings: Sequence[Finding]) -> list[Finding]:
    """A day's findings, without a warning of what is critical as well."""
    own = [finding for finding in findings if finding.day == day]
    critical = {(finding.column, finding.text) for finding in own if finding.severity == "critical"}
    return [finding for finding in own if finding.severity == "critical" or (finding.column, finding.text) not in critical]


def _documents(judged: Sequence[Verdict], left_out: Sequence[SkippedDay], fresh: set[str], quarantined: Path) -> list[DayDocument]:
    told = [_document(verdict, verdict.day in fresh, _quarantine_of(quarantined, verdict.day)) for verdict in judged]
    return told + [DayDocument(entry.day, "skipped", why=entry.why, judged_now=False) for entry in left_out]


def _document(verdict: Verdict, fresh: bool, quarantined: Path) -> DayDocument:
    return DayDocument(
        verdict.day,
        "refused" if verdict.refused else "accepted",
        verdict.rows if len(verdict.lines) else None,
        quarantine.by_reason(quarantined) if verdict.quarantined else {},
        quarantine.examples(quarantined, EXAMPLES) if verdict.quarantined else (),
        verdict.findings,
        verdict.preceding,
        judged_now=fresh,
    )


def _report(judged: Sequence[Verdict], left_out: Sequence[SkippedDay], quarantined: Path) -> dict[str, Any]:
    extra = {name for verdict in judged for name in verdict.lines.filter(pl.col("status") == "extra")["column"]}
    findings = [finding for verdict in judged for finding in verdict.findings]
    return {
        "refused": [verdict.day for verdict in judged if verdict.refused],
        "skipped": [{"day": entry.day, "digest": entry.digest, "why": entry.why} for entry in left_out],
        "problems": [str(finding) for finding in findings if finding.severity == "critical"],
        "warnings": [str(finding) for finding in findings if finding.severity == "warning"],
        "extra_columns": sorted(extra),
        "rows": {verdict.day: verdict.rows - verdict.quarantined for verdict in judged},
        "quarantined": {
            verdict.day: quarantine.by_reason(_quarantine_of(quarantined, verdict.day)) for verdict in judged if verdict.quarantined
        },
    }


def _refuse(critical: Sequence[Finding], output: Path) -> None:
    """Raise if there is anything critical, and say what to do."""
    if not critical:
        return
    days = list(dict.fromkeys(finding.day for finding in critical))
    listed = [str(finding) for finding in critical[:MOST_LISTED]]
    more = f"; and {len(critical) - MOST_LISTED} more, all of them in {output / 'report.json'}" if len(critical) > MOST_LISTED else ""
    numbered = "; ".join(f"({number}) {text}" for number, text in enumerate(listed, start=1))
    reasons = listed[0] if len(critical) == 1 else f"{numbered}{more}"
    count = "" if len(critical) == 1 else f" for {len(critical)} reasons"
    written = f"the documents are in {output / DOCUMENTS}/index.html"
    if (output / QUARANTINE).is_dir():
        written += f", rows that are not sound in {output / QUARANTINE}"
    by_nature = ", or, where days are not alike, say compare_days: false under events" if any(USUAL in one.text for one in critical) else ""
    remedy = f"mend the files, or leave the day out: amtl skip-day {days[0]} --why TEXT{by_nature}; {written}"
    raise ValidationError(f"the events are refused{count}: {reasons}. What to do: {remedy}")


def _accepted(used: Sequence[Partition], report: dict[str, Any], events: EventsParams) -> dict[str, Any]:
    """The days that may be used, and under which rules their rows were found sound."""
    rows, quarantined = report["rows"], report["quarantined"]
    accepted = [
        {"day": part.day, "digest": part.digest, "rows": rows[part.day], "quarantined": sum(quarantined.get(part.day, {}).values())}
        for part in used
    ]
    return {"partitions": accepted, "skipped": report["skipped"], "soundness": digest_of(soundness(events))}


def _quarantine_of(folder: Path, day: str) -> Path:
    return folder / f"date={day}.parquet"
