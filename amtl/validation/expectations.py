"""Great Expectations' part, and the only module that knows it: profiles against `checks`, sampled rows against the user's suite.

Profiles stand for all rows; a sample is small enough for Great Expectations, which reads pandas and not polars. It goes
over as pandas with Arrow types, so that integers with nulls stay integers. Lists and structures go over as JSON text.
Great Expectations renders its own pages of what it judged; `documents` makes them readable offline.
"""

from __future__ import annotations

import copy
import difflib
import html
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.columns import columns
from amtl.errors import DataError, ParamsError
from amtl.params import EventsParams
from amtl.validation import documents as pages
from amtl.validation.checks import Check, Finding, Lines
from amtl.validation.profile import DAY
from amtl.validation.suite import COLUMN_ARGUMENTS, Entry, Suite

_OURS = {"id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity", "windows", "batch_id"}
NOT_HERE = _OURS | {"row_condition", "condition_parser"}
"""Arguments of every expectation that its entry does not give: they are ours, or stand beside it (severity, note); conditions as text
are on their way out of Great Expectations."""

MADE_UP: dict[str, list[Any]] = {
    "integer": [0, 1],
    "string": ["a", "b"],
    "integers": ["[0]", "[0, 1]"],
    "strings": ['["a"]', '["a", "b"]'],
    "number": [0.0, 1.0],
    "label": [0, 1],
    "split": ["train", "test"],
}
"""Two values of each role on which `verify` tries the suite; times have no one type to try."""

SHOWN_VALUES, SHOWN_CHARACTERS = 3, 40


def verify(suite: Suite, events: EventsParams) -> None:
    """Try every entry that can be tried without events, on two made-up rows of the declared types.

    Raises:
        ParamsError: an expectation that Great Expectations does not have, an argument that it does not take, or an entry that it
            cannot run on columns of these types; with its own message.
    """
    if not suite.entries:
        return
    made_up = {column.name: MADE_UP[column.role] for column in columns(events) if column.role in MADE_UP}
    tried = _answerable(suite, _expectations(suite), set(made_up))
    for result in _Judge().run(tried, pl.DataFrame(made_up)).results if tried else []:
        if failure := _failure(result):
            raise ParamsError(f"{suite.entries[result.expectation_config.meta['number']]} cannot be judged: {failure}")


def judge(
    profiles: pl.DataFrame,
    samples: Mapping[str, pl.DataFrame],
    checks: Sequence[Check],
    suite: Suite,
    events: EventsParams,
    documents: Path,
) -> list[Finding]:
    """Judge the profiles and the samples of one or more days.

    Args:
        profiles: lines of `profile.profile`.
        samples: day to some of its raw rows, of declared and other columns, in the types of the files.
        checks: bounds on the figures of the profiles.
        suite: what the user expects of the rows.
        events: the declared schema.
        documents: folder that gets Great Expectations' pages of this run: `profiles.html`, and `DAY.html` of the newest sample and of
            those in which something was found.

    Returns:
        What was found, critical findings first, then by day. Declared columns that a day lacks or holds in another type are the
        checks' business; the suite is not asked about them.

    Raises:
        ParamsError: an entry of the suite is wrong, or names a column that is neither declared nor in any sample.
        DataError: a check itself failed to run.
    """
    declared = {column.name for column in columns(events)}
    _refuse_unknown_columns(suite, declared.union(*(sample.columns for sample in samples.values())))
    expectations = _expectations(suite)
    using = _Judge()
    result = using.run([_bound(number, check) for number, check in enumerate(checks)], profiles, lines=True)
    pages.publish_page(documents / "profiles.html", "All days: checks on every row", using.page(result))
    findings = list(_check_findings(result, checks, profiles, events))
    for day, sample in sorted(samples.items()):
        findings += _missing_columns(suite, day, declared.union(sample.columns))
        asked = _answerable(suite, expectations, _fit_columns(profiles, day, sample))
        if asked:
            result = using.run(asked, _readable(sample))
            found = list(_suite_findings(result, suite, day))
            if found or day == max(samples):  # a page costs as much as the judging
                pages.publish_page(documents / f"{day}.html", f"{day}: expectations.yaml on {len(sample):,} rows", using.page(result))
            findings += found
    return sorted(findings, key=lambda finding: (finding.severity != "critical", finding.day))


def _check_findings(result: Any, checks: Sequence[Check], profiles: pl.DataFrame, events: EventsParams) -> Iterator[Finding]:
    lines = {(line["day"], line["column"]): line for line in profiles.iter_rows(named=True)}
    for single in result.results:
        check = checks[single.expectation_config.meta["number"]]
        if failure := _failure(single):
            raise DataError(f"the check on {check.figure} of {check.lines} cannot be run ({failure}); correct amtl/validation/checks.py")
        for failed in single.result.get("unexpected_index_list") or []:
            line = lines[failed["day"], failed["column"]]
            text = _check_text(check, line, float(failed[check.figure]), events)
            yield Finding(line["day"], line["column"], check.severity, text)


def _check_text(check: Check, line: dict[str, Any], value: float, events: EventsParams) -> str:
    limits = {field.name: "{:g} to {:g}".format(*field.range) for field in events.numbers if field.range}
    return f"{check.found}; {check.remedy}".format(value=value, range=limits.get(line["column"]), **line)


def _missing_columns(suite: Suite, day: str, known: set[str]) -> Iterator[Finding]:
    """Columns that only the suite knows, where a day lacks them: no check looks after those."""
    for entry in suite.entries:
        for name in sorted(set(entry.columns) - known):
            yield Finding(day, name, entry.severity, f"the column is missing, so {entry} cannot be judged; deliver it, or change the entry")


def _suite_findings(result: Any, suite: Suite, day: str) -> Iterator[Finding]:
    for single in result.results:
        entry = suite.entries[single.expectation_config.meta["number"]]
        column = ", ".join(entry.columns) or DAY
        if failure := _failure(single):
            yield Finding(day, column, "critical", f"{entry} cannot be judged: {failure}; correct the entry or the column")
        elif not single.success:
            note = f" ({entry.note})" if entry.note else ""
            text = f"{_seen(single.result)}; {_expected(entry)}{note}; mend the day, or change {entry.place}"
            yield Finding(day, column, entry.severity, text)


def _seen(result: Mapping[str, Any]) -> str:
    """What Great Expectations saw, in words."""
    if result.get("unexpected_count") is None or "element_count" not in result:
        return f"in the sample it is {_short(result.get('observed_value', result.get('partial_unexpected_list')))}"
    values = list(dict.fromkeys(_short(value) for value in result.get("partial_unexpected_list") or []))[:SHOWN_VALUES]
    such = f", such as {', '.join(values)}" if values else ""
    return f"{result['unexpected_count']:,} of {result['element_count']:,} sampled values are unexpected{such}"


def _expected(entry: Entry) -> str:
    arguments = [f"{key}: {_short(value)}" for key, value in entry.arguments.items() if key not in COLUMN_ARGUMENTS]
    return f"{entry.expectation}{' with ' + ', '.join(arguments) if arguments else ''}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    text = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
    return repr(text) if isinstance(value, str) else text


def _fit_columns(profiles: pl.DataFrame, day: str, sample: pl.DataFrame) -> set[str]:
    """The sample's columns that every file of the day has, in a type that fits the declaration if there is one."""
    of_day = profiles.filter(pl.col("day") == day)
    unfit = of_day.filter((pl.col("missing").fill_null(0) > 0) | (pl.col("misfit").fill_null(0) > 0))["column"]
    return set(sample.columns) - set(unfit)


def _refuse_unknown_columns(suite: Suite, known: set[str]) -> None:
    for entry in suite.entries:
        for name in sorted(set(entry.columns) - known):
            where = "is neither declared in params.yaml: events nor in the new days; correct the name, or deliver it"
            raise ParamsError(f"{entry}: column {name} {where}{_near(name, known)}")


def _near(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _answerable(suite: Suite, expectations: Sequence[Any], present: set[str]) -> list[Any]:
    """The expectations that look only at columns that are present."""
    return [expectation for expectation, entry in zip(expectations, suite.entries, strict=True) if set(entry.columns) <= present]


def _expectations(suite: Suite) -> list[Any]:
    """Great Expectations' objects of the entries, in their order.

    Raises:
        ParamsError: there is no such expectation of columns, or it does not take these arguments.
    """
    known = _column_expectations() if suite.entries else set()
    return [_expectation(number, entry, known) for number, entry in enumerate(suite.entries)]


def _expectation(number: int, entry: Entry, known: set[str]) -> Any:
    from great_expectations.compatibility import pydantic
    from great_expectations.expectations.registry import get_expectation_impl

    if entry.expectation not in known:
        raise ParamsError(f"{entry} is not one of Great Expectations' expectations of columns{_near(entry.expectation, known)}")
    kind = get_expectation_impl(entry.expectation)
    taken = set(kind.__fields__) - NOT_HERE
    for argument in entry.arguments:
        if argument not in taken:
            raise ParamsError(f"{entry} takes no {argument}; it takes {', '.join(sorted(taken))}{_near(argument, taken)}")
    notes = {"format": "string", "content": [entry.note]} if entry.note else None
    meta = {"number": number} | ({"notes": notes} if notes else {})
    try:
        return kind(**entry.arguments, severity=entry.severity, meta=meta)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "__root__")
        raise ParamsError(f"{entry}: {key + ': ' if key else ''}{_one_line(first['msg'])}") from None


def _column_expectations() -> set[str]:
    """Names of the expectations that judge columns row by row or by a figure of their values."""
    from great_expectations.expectations import expectation
    from great_expectations.expectations.registry import get_expectation_impl, list_registered_expectation_implementations

    kinds = (
        expectation.ColumnMapExpectation,
        expectation.ColumnAggregateExpectation,
        expectation.ColumnPairMapExpectation,
        expectation.MulticolumnMapExpectation,
    )
    return {name for name in list_registered_expectation_implementations() if issubclass(get_expectation_impl(name), kinds)}


def _bound(number: int, check: Check) -> Any:
    """Great Expectations' object of a check."""
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import AndCondition
    from great_expectations.expectations.row_conditions import Column as Line

    lines: Lines = check.lines
    return gxe.ExpectColumnValuesToBeBetween(
        column=check.figure,
        min_value=check.lowest,
        max_value=check.highest,
        row_condition=AndCondition(conditions=[Line(name).is_in(values) for name, values in lines.items()]),
        severity=check.severity,
        meta={"number": number, "notes": {"format": "string", "content": [f"{check.found}; {check.remedy}"]}},
    )


class _Judge:
    """Great Expectations, set up to judge frames in memory and to leave nothing behind."""

    def __init__(self) -> None:
        import great_expectations as gx

        logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        self._batches = context.data_sources.add_pandas("amtl").add_dataframe_asset("events").add_batch_definition_whole_dataframe("all")

    def run(self, expectations: Sequence[Any], frame: pl.DataFrame, lines: bool = False) -> Any:
        """The results on a frame, one an expectation; `lines`: of all failing lines, named by day and column."""
        import great_expectations as gx

        every: dict[str, Any] = {"result_format": "COMPLETE", "unexpected_index_column_names": ["day", "column"]}
        rows = frame.to_pandas() if lines else frame.to_pandas(use_pyarrow_extension_array=True)
        suite = gx.ExpectationSuite("checks" if lines else "expectations.yaml", expectations=list(expectations))
        batch = self._batches.get_batch(batch_parameters={"dataframe": rows})
        with warnings.catch_warnings():  # pandas', of patterns with groups, which are fine here
            warnings.simplefilter("ignore", UserWarning)
            result = batch.validate(suite, result_format=every if lines else "SUMMARY")
        for single in result.results:  # numpy's and pandas' own scalars break its pages and JSON
            single.success, single.result = bool(single.success), _plain(single.result)
        return result

    def page(self, result: Any) -> str:
        """Great Expectations' own page of results, as it would stand in its Data Docs.

        It escapes the arguments of an expectation and not the values that it found, so that is done here.
        """
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        shown = copy.copy(result)
        shown.results = [copy.copy(single) for single in result.results]
        for single in shown.results:
            single.result = _escaped(single.result)
        return str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(shown)))


def _readable(sample: pl.DataFrame) -> pl.DataFrame:
    """A sample in types that Great Expectations can judge; NaN is null, as everywhere, and times are in UTC."""
    return sample.select(_readable_column(series) for series in sample)


def _readable_column(series: pl.Series) -> pl.Series:
    dtype = series.dtype
    if dtype.is_nested():
        return pl.Series(series.name, [None if value is None else _json(value) for value in series.to_list()], pl.String)
    if dtype.is_float():
        return series.fill_nan(None)
    if isinstance(dtype, pl.Decimal | pl.Int128 | pl.UInt128):
        return series.cast(pl.Float64)
    if isinstance(dtype, pl.Datetime):
        return series.dt.convert_time_zone("UTC") if dtype.time_zone else series.dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.Binary):
        return series.bin.encode("hex")
    return series.cast(pl.String) if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null) else series


def _json(value: Any) -> str:
    return json.dumps(value.to_list() if isinstance(value, pl.Series) else value, ensure_ascii=False, default=str)


def _failure(single: Any) -> str | None:
    """The message of an expectation that could not be judged, in one line; None if it was judged."""
    information = single.exception_info or {}
    raised = [information] if "raised_exception" in information else list(information.values())
    messages = [entry.get("exception_message") for entry in raised if entry.get("raised_exception")]
    return _one_line(str(messages[0])) if messages else None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".")


def _plain(value: Any) -> Any:
    """A result's value in Python's own types; what is missing becomes None, what is not finite text."""
    import pandas as pd

    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(entry) for entry in value]
    value = value.item() if hasattr(value, "item") else value
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _escaped(value: Any) -> Any:
    """A plain value whose texts stand for themselves in HTML."""
    if isinstance(value, dict):
        return {key: _escaped(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_escaped(entry) for entry in value]
    return html.escape(value, quote=False) if isinstance(value, str) else value
