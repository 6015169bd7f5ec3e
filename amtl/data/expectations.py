"""Great Expectations judges the profiles (not the rows) by `checks.checks`, and writes the Data Docs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import polars as pl

from amtl.data.checks import Check, Finding, checks
from amtl.errors import DataError
from amtl.params import EventsParams, ValidateParams


def judge(profiles: pl.DataFrame, events: EventsParams, params: ValidateParams, documents: Path) -> list[Finding]:
    """Judge profiles of one or more days.

    Args:
        profiles: lines of `profile.profile`.
        events: the declared schema.
        params: the limits.
        documents: folder that the Data Docs of this run are written to.

    Returns:
        What was found, critical findings first, then by day.

    Raises:
        DataError: a check itself failed to run; the suite was edited wrongly.
    """
    bounds = checks(events, params)
    lines = {(line["day"], line["column"]): line for line in profiles.iter_rows(named=True)}
    findings = []
    for result in _run(bounds, profiles.to_pandas(), documents):
        check = bounds[result.expectation_config.meta["check"]]
        if result.exception_info.get("raised_exception"):
            raise DataError(f"the check on {check.figure} of {check.lines} cannot be run; correct amtl/data/checks.py")
        for failed in result.result.get("unexpected_index_list") or []:
            line = lines[failed["day"], failed["column"]]
            text = _text(check, line, float(failed[check.figure]), events)
            findings.append(Finding(line["day"], line["column"], check.severity, text))
    return sorted(findings, key=lambda finding: (finding.severity != "critical", finding.day))


def _text(check: Check, line: dict[str, Any], value: float, events: EventsParams) -> str:
    limits = {field.name: "{:g} to {:g}".format(*field.range) for field in events.numbers if field.range}
    return f"{check.found}; {check.remedy}".format(value=value, range=limits.get(line["column"]), **line)


def _run(checks: list[Check], lines: Any, documents: Path) -> list[Any]:
    """Great Expectations' results, one a check, and its Data Docs in `documents`."""
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    context.add_data_docs_site(
        site_name="local",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(documents.resolve())},
        },
    )
    asset = context.data_sources.add_pandas("profiles").add_dataframe_asset("events")
    expectations = [_expectation(number, check) for number, check in enumerate(checks)]
    definition = gx.ValidationDefinition(
        name="events",
        data=asset.add_batch_definition_whole_dataframe("all"),
        suite=context.suites.add(gx.ExpectationSuite("events", expectations=expectations)),
    )
    checkpoint = gx.Checkpoint(
        name="events",
        validation_definitions=[context.validation_definitions.add(definition)],
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["day", "column"]},
        actions=[gx.checkpoint.UpdateDataDocsAction(name="documents", site_names=["local"])],
    )
    results = checkpoint.run(batch_parameters={"dataframe": lines}).run_results.values()
    return [result for validation in results for result in validation.results]


def _expectation(number: int, check: Check) -> Any:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import AndCondition, Column

    lines = [Column(name).is_in(values) for name, values in check.lines.items()]
    return gxe.ExpectColumnValuesToBeBetween(
        column=check.figure,
        min_value=check.lowest,
        max_value=check.highest,
        row_condition=AndCondition(conditions=lines),
        severity=check.severity,
        meta={"check": number, "notes": {"format": "string", "content": [f"{check.found}; {check.remedy}"]}},
    )
