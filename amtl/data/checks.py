"""What a day's profile must satisfy: a pure list of bounds on the figures of `profile.SCHEMA`.

`checks` is meant to be read: a check looks at one column of the profile table in the lines that its condition picks. `critical`
refuses the day, `warning` is reported. A figure that is null is not judged, so row counts and null shares have their own checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from amtl.data.profile import DAY
from amtl.params import EventsParams, ValidateParams

Severity = Literal["critical", "warning"]

Lines = dict[str, list[Any]]

DAY_LINE: Lines = {"status": ["day"]}
DECLARED: Lines = {"status": ["required", "optional", "never null"]}
NEEDED: Lines = {"status": ["required", "never null"]}
LABEL: Lines = {"role": ["label"]}
SOME_REQUIRED: Lines = {"status": ["required"], "all_null": [0]}
SOME_OPTIONAL: Lines = {"status": ["optional"], "all_null": [0]}
SOME_NEVER_NULL: Lines = {"status": ["never null"], "all_null": [0]}


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
    """All checks, the fundamental ones first. Edit here: a changed suite judges every day anew."""
    rows, share, (rate_from, rate_to) = params.min_rows, params.max_null_share, params.label_rate
    rate, seen = "{label_rate:.2%} of labels are 1", "{value:,.0f} values are out of range ({lowest:g} to {highest:g} seen)"
    return [
        _at_least("rows", rows, DAY_LINE, "{value:,.0f} rows", f"at least {rows:,} needed; deliver the day again or remove it"),
        _none("missing", NEEDED, "missing in {value:.0f} file(s)", "add it, or declare the field optional: true"),
        _none("misfit", DECLARED, "type {type} does not hold what events declares", "write a fitting type, or change the declaration"),
        _none("all_null", DECLARED, "every value is null", "deliver the values; an optional column may be left out"),
        _at_most(
            "null_share",
            share,
            SOME_REQUIRED,
            "{value:.1%} are null",
            f"at most {share:.1%} may be; fill them or raise validate.max_null_share",
        ),
        _at_most("null_share", 0, SOME_NEVER_NULL, "{nulls:,.0f} values are null", "none may be; fill them or leave those rows out"),
        _none("odd", LABEL, "{value:,.0f} labels are neither 0 nor 1", "only 0 and 1 are allowed; correct them"),
        _none("odd", {"role": ["split"]}, "{value:,.0f} words name no part", "only train, validation and test are allowed; correct them"),
        _at_least("label_rate_high", rate_from, LABEL, rate, f"validate.label_rate starts at {rate_from:.2%}"),
        _at_most("label_rate_low", rate_to, LABEL, rate, f"validate.label_rate ends at {rate_to:.2%}"),
        _none("infinite", DECLARED, "{value:,.0f} values are infinite", "numbers must be finite; correct them or make them null"),
        _none("unreadable", DECLARED, "{value:,.0f} values exceed 64 bits", "ids are signed 64-bit integers or text; write them so"),
        _none("out_of_range", DECLARED, seen, "{range} is declared; correct the values or the range"),
        _at_most("null_share", share, SOME_OPTIONAL, "{value:.1%} are null", "more than usual; look at where they come from", "warning"),
        _none("nan", DECLARED, "{value:,.0f} values are NaN", "they are read as null", "warning"),
    ]


def _at_least(figure: str, lowest: float, lines: Lines, found: str, remedy: str) -> Check:
    return Check(figure, lines, lowest, None, found, remedy)


def _at_most(figure: str, highest: float, lines: Lines, found: str, remedy: str, severity: Severity = "critical") -> Check:
    return Check(figure, lines, None, highest, found, remedy, severity)


def _none(figure: str, lines: Lines, found: str, remedy: str, severity: Severity = "critical") -> Check:
    return Check(figure, lines, None, 0, found, remedy, severity)
