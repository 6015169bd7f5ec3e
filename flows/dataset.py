"""The data set of a workspace: made, brought in or swapped. One workspace holds one data set.

A swap writes the events, then the sections of params.yaml that go with them, then the pins: the parent of another data
set means nothing here, so parent.lock is reset. After a crash, the same command again completes the swap.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from amtl import files, params, stages
from amtl.data.columns import columns
from amtl.errors import DataError
from flows import data

if TYPE_CHECKING:
    from amtl.sources.progress import Advance
    from amtl.sources.sample import SampleReport
    from amtl.sources.source import Source
    from amtl.sources.writing import Added

T = TypeVar("T")


def install(root: Path, section: Mapping[str, Any], write: Callable[[Path], T], replace: bool) -> T:
    """Fill data/events and pin it.

    Args:
        root: the workspace; the caller holds its lock.
        section: the `events` section of params.yaml that goes with the data; its `name` names the registered model too.
        write: fills or replaces the folder that it is given.
        replace: swap a data set of another name, with its sections of params.yaml and the pin of the parent.

    Returns:
        What `write` returned.

    Raises:
        DataError: another data set is here, and `replace` was not asked for.
        ParamsError: params.yaml would not be valid with the section; nothing was changed.
    """
    refuse_other_name(root, section["name"], replace)
    _refuse_strangers(root, section["name"], replace)
    path = root / "params.yaml"
    text = described(path.read_text(encoding="utf-8"), section)
    params.parse(yaml.safe_load(text), str(path))
    result = write(root / stages.EVENTS)
    if replace:
        files.publish_text(path, text)
    digest = data.pin(root)
    if replace:
        _reset_parent(root, digest)
        _reset_skipped_days(root)
    return result


def add(root: Path, source: Source, replace_days: bool, advance: Advance | None = None) -> Added:
    """Add the days of a later delivery to data/events and pin them.

    Args:
        root: the workspace; the caller holds its lock.
        source: of the data set that is here, with the same columns.
        replace_days: let days that are here with other content be replaced.
        advance: told the rows that pass.

    Raises:
        DataError: another data set is here, or other columns are declared; a day is here with other content.
    """
    from amtl.sources.writing import add_days

    refuse_other(root, source.section)
    added = add_days(source, root / stages.EVENTS, replace_days, advance)
    data.pin(root)
    return added


def refuse_other(root: Path, section: Mapping[str, Any]) -> None:
    """Refuse what is not a delivery of the data set that is here.

    Raises:
        DataError: the data set has another name, or other columns; they are named.
    """
    refuse_other_name(root, section["name"], replace=False)
    present, offered = params.load(root / "params.yaml").events, params.EventsParams.model_validate(section)
    differences = sorted(_described_columns(present) ^ _described_columns(offered))
    if differences:
        raise DataError(
            f"params.yaml: events declares other columns: {'; '.join(differences)} on one side only; to bring files in as declared, leave "
            "out what says otherwise (--label, --field, ...); to swap the data set, add --replace"
        )


def refuse_other_name(root: Path, name: str, replace: bool) -> None:
    """Refuse a data set of another name, unless it is to be swapped.

    Raises:
        DataError: another data set is here, and `replace` is not set.
    """
    present = params.load(root / "params.yaml").events.name
    if present != name and not replace:
        raise DataError(f"this workspace holds the data set {present!r} (events.name), not {name!r}; to swap it, add --replace")


def next_day(root: Path) -> SampleReport:
    """Add a day to the sample that is here, and pin the data.

    Raises:
        DataError: the newest day is not the sample's.
    """
    from amtl.sources.sample import add_day

    report = add_day(root / stages.EVENTS)
    data.pin(root)
    return report


def _described_columns(events: params.EventsParams) -> set[str]:
    return {f"{column.name} ({column.role})" for column in columns(events)}


def _refuse_strangers(root: Path, name: str, replace: bool) -> None:
    """Days that a user put beside the sample's own are not overwritten unasked."""
    from amtl.sources.sample import is_sample_file

    strangers = sorted((root / stages.EVENTS).glob("date=*/*.parquet")) if name == "sample" and not replace else []
    strangers = [path for path in strangers if not is_sample_file(path)]
    if strangers:
        raise DataError(f"{strangers[0]} was not written by `amtl sample`; to write the sample over it, add --replace")


def described(text: str, section: Mapping[str, Any]) -> str:
    """The text of params.yaml with another `events` section and its name under `register`; the rest stays as it is, to the byte."""
    text = _with_events(text, section)
    line, column = _document(text)["register"].lc.value("name")
    lines = text.splitlines(keepends=True)
    name = _flow(section["name"])
    rest = re.sub(r"^(\"[^\"]*\"|'[^']*'|[^\s,}#]+)", lambda _: name, lines[line][column:])
    lines[line] = lines[line][:column] + rest
    return "".join(lines)


def _with_events(text: str, section: Mapping[str, Any]) -> str:
    """The text with other lines from `events:` up to the blank lines and comments before the next section."""
    document = _document(text)
    lines = text.splitlines(keepends=True)
    starts = sorted(document.lc.key(key)[0] for key in document)
    start = document.lc.key("events")[0]
    end = next((line for line in starts if line > start), len(lines))
    while end > start + 1 and not lines[end - 1].split("#")[0].strip():
        end -= 1
    header = lines[start] if re.fullmatch(r"events:\s*(#.*)?\n", lines[start]) else "events:\n"
    return "".join([*lines[:start], header, *events_lines(section), *lines[end:]])


def events_lines(section: Mapping[str, Any]) -> Iterator[str]:
    """The lines below `events:` in params.yaml, each field on one."""
    for key, value in section.items():
        if isinstance(value, list):
            yield f"  {key}:\n"
            yield from (f"    - {_flow(entry)}\n" for entry in value)
        else:
            yield f"  {key}: {_flow(value)}\n"


def _flow(value: Any) -> str:
    """On one line, with the letters of all languages; JSON is YAML's one way to write a line break so."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    return json.dumps(value, ensure_ascii=False) if "\n" in text else text


def _document(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="rt").load(text)


def _reset_parent(root: Path, digest: str) -> None:
    from amtl.release.parent import ParentLock

    ParentLock(None, digest).write(root / stages.PARENT_LOCK)


def _reset_skipped_days(root: Path) -> None:
    """No day of another data set is skipped in this one."""
    from amtl.validation.skipped import SkippedDays

    path = root / stages.SKIPPED_DAYS
    if path.exists():
        SkippedDays().write(path)
