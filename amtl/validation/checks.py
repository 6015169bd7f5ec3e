"""What a day's profile must satisfy: a pure list of bounds on the figures of `profile.SCHEMA`.

`checks` is meant to be read: a check looks at one column of the profile table in the lines that its condition picks. `critical`
refuses the day, `warning` is reported. A figure that is null is not judged, so row counts and null shares have their own checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from amtl.params import EventsParams, ValidateParams
from amtl.validation.profile import DAY

Severity = Literal["critical", "warning"]

Lines = dict[str, list[Any]]

DAY_LINE: Lines = {"status": ["day"]}
DECLARED: Lines = {"status": ["required", "optional", "never null"]}
REQUIRED: Lines = {"status": ["required"]}
NEVER_NULL: Lines = {"status": ["never null"]}
OPTIONAL: Lines = {"status": ["optional"]}
EXTRA: Lines = {"status": ["extra"]}
LABEL: Lines = {"role": ["label"]}
TIME: Lines = {"role": ["time"]}
SOME_REQUIRED: Lines = {"status": ["required"], "all_null": [0]}
SOME_OPTIONAL: Lines = {"status": ["optional"], "all_null": [0]}
SOME_NEVER_NULL: Lines = {"status": ["never null"], "all_null": [0]}
USUAL = "the median of the up to"
"""In what is found by comparing a day with those before it."""


@dataclass(frozen=True)
class Check:
    """A bound on one figure of the profile.

    Attributes:
        figure: a column of the profile.
        lines: which lines are judged: column of the profile to the values it may have; a figure that is null is not judged.
        lowest: least value allowed, or None.
        highest: greatest value allowed, or None.
        found: what is wrong; may name `{value}`, any column of the profile, and the declared `{range}`.
        remedy: what is allowed or to be done.
        severity: `critical` refuses the day.
    """

    figure: str
    lines: Lines
    lowest: float | None
    highest: float | None
    found: str
    remedy: str
    severity: Severity = "critical"


@dataclass(frozen=True)
class Finding:
    """A check that a column of a day failed."""

    day: str
    column: str
    severity: Severity
    text: str

    def __str__(self) -> str:
        where = self.day if self.column == DAY else f"{self.day} column {self.column}"
        return f"{where}: {self.text}"


def checks(events: EventsParams, params: ValidateParams) -> list[Check]:
    """All checks, the fundamental ones first. Edit here: a changed list judges every day anew."""
    return [*_schema(), *_rows(events, params), *_values(params), *_labels(params), *(_jumps(params) if events.compare_days else [])]


def breaks(check: Check, line: Mapping[str, Any]) -> bool:
    """Whether a line of the profile breaks a check."""
    value = line[check.figure]
    if value is None or any(line[name] not in allowed for name, allowed in check.lines.items()):
        return False
    return (check.lowest is not None and value < check.lowest) or (check.highest is not None and value > check.highest)


def _schema() -> list[Check]:
    gone = "missing in {value:.0f} file(s){hint}"
    zones = "write all in one time zone (UTC is best), or all as epoch seconds"
    return [
        _none("missing", REQUIRED, gone, "add it, or declare the field optional: true"),
        _none("missing", NEVER_NULL, gone, "add it; every event has one"),
        _none("misfit", DECLARED, "type {type} does not hold what events declares", "write a fitting type, or change the declaration"),
        _none("all_null", DECLARED, "every value is null", "deliver the values; an optional column may be left out"),
        _at_most("zones", 1, TIME, "the day's times are of {value:.0f} kinds ({zone})", zones),
        _none("rezoned", TIME, "times are in {zone}, those of the day before in {before}", zones),
        _none(
            "retyped", DECLARED, "type {type}, {before} on the day before", "both hold what is declared; see that it is meant", "warning"
        ),
        _none("gone", OPTIONAL, "gone since the day before", "its values count as missing from now on", "warning"),
        _none("gone", EXTRA, "gone since the day before", "it was not used", "warning"),
        _none("added", EXTRA, "new since the day before", "it is not used; declare it in params.yaml: events.fields", "warning"),
    ]


def _rows(events: EventsParams, params: ValidateParams) -> list[Check]:
    """Where rows have no time, equal ones may be different events: that is only warned of."""
    rows, most = params.min_rows, params.max_quarantined
    repeated, twice = "{value:.1%} of rows repeat an earlier one", "see that it was not delivered twice (validate.max_duplicates)"
    repeats = _limited("duplicate_share", DAY_LINE, params.max_duplicates, repeated, twice)
    left_out = "{quarantined:,.0f} of {rows:,.0f} rows ({value:.2%}) are not sound: {reasons}"
    return [
        _at_least("rows", rows, DAY_LINE, "{value:,.0f} rows", f"at least {rows:,} needed; deliver the day again or remove it"),
        _at_most("quarantined_share", most, DAY_LINE, left_out, f"at most {most:.2%} may be (validate.max_quarantined); correct them"),
        *(check for check in repeats if events.time or check.severity == "warning"),
    ]


def _values(params: ValidateParams) -> list[Check]:
    share, left_out = params.max_null_share, "those rows are left out"
    seen = "{value:,.0f} values are out of range ({lowest:g} to {highest:g} seen, {range} is declared)"
    return [
        _at_most(
            "null_share",
            share,
            SOME_REQUIRED,
            "{value:.1%} are null",
            f"at most {share:.1%} may be; fill them or raise validate.max_null_share",
        ),
        _at_most("null_share", share, SOME_OPTIONAL, "{value:.1%} are null", "more than usual; look at where they come from", "warning"),
        _at_most("null_share", 0, SOME_NEVER_NULL, "{nulls:,.0f} values are null", left_out, "warning"),
        _none("odd", {"role": ["split"]}, "{value:,.0f} words name no part of the split", left_out, "warning"),
        _none("infinite", DECLARED, "{value:,.0f} values are infinite", left_out, "warning"),
        _none("unreadable", DECLARED, "{value:,.0f} values exceed 64 bits", left_out, "warning"),
        _none("out_of_range", DECLARED, seen, left_out, "warning"),
        _none("off_day", DECLARED, "{value:,.0f} times are too far off the day (events.hours_off_day)", left_out, "warning"),
        _none("damaged", DECLARED, "{value:,.0f} texts hold control or replacement characters", left_out, "warning"),
        _none("mojibake", DECLARED, "{value:,.0f} texts look like UTF-8 read in another encoding", "see how they were decoded", "warning"),
        _none("nan", DECLARED, "{value:,.0f} values are NaN", "they are read as null", "warning"),
    ]


def _labels(params: ValidateParams) -> list[Check]:
    rate_from, rate_to = params.label_rate
    rate = "{label_rate:.2%} of labels are 1"
    alike = "all {value:,.0f} labels are {label_rate:.0f}"
    return [
        *_limited("one_label", LABEL, params.one_label, alike, "see how labels are made (validate.one_label)"),
        _none("odd", LABEL, "{value:,.0f} labels are neither 0 nor 1", "those rows are left out", "warning"),
        _at_least(
            "label_rate_high",
            rate_from,
            LABEL,
            rate,
            f"validate.label_rate starts at {rate_from:.2%}; see how labels are made, or lower it",
        ),
        _at_most(
            "label_rate_low", rate_to, LABEL, rate, f"validate.label_rate ends at {rate_to:.2%}; see how labels are made, or raise it"
        ),
    ]


def _jumps(params: ValidateParams) -> list[Check]:
    days = f"{USUAL} {params.history} days before"
    volume = "{rows:,.0f} rows, a factor of {value:.1f} from the usual {usual:,.0f}, " + days
    rate = "{label_rate:.2%} of labels are 1, {usual:.2%} is usual (" + days + "): the odds differ by a factor of {value:.1f}"
    new = "{new_share:.1%} of values are new to those days, {usual:.1%} is usual (" + days + ")"
    return [
        *_limited("volume_jump", DAY_LINE, params.volume_jump, volume, "see that the day is complete (validate.volume_jump)"),
        *_limited("label_rate_jump", LABEL, params.label_rate_jump, rate, "see how labels are made (validate.label_rate_jump)"),
        *_limited("new_values_jump", DECLARED, params.new_values_jump, new, "see how ids are written (validate.new_values_jump)"),
    ]


def _limited(figure: str, lines: Lines, limits: tuple[float, float] | None, found: str, remedy: str) -> list[Check]:
    """A warning beyond the first limit, a refusal beyond the second; nothing without limits."""
    if limits is None:
        return []
    return [_at_most(figure, limits[1], lines, found, remedy), _at_most(figure, limits[0], lines, found, remedy, "warning")]


def _at_least(figure: str, lowest: float, lines: Lines, found: str, remedy: str) -> Check:
    return Check(figure, lines, lowest, None, found, remedy)


def _at_most(figure: str, highest: float, lines: Lines, found: str, remedy: str, severity: Severity = "critical") -> Check:
    return Check(figure, lines, None, highest, found, remedy, severity)


def _none(figure: str, lines: Lines, found: str, remedy: str, severity: Severity = "critical") -> Check:
    return Check(figure, lines, None, 0, found, remedy, severity)
