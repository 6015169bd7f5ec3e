"""Every published data set: its section is valid, its rows come back typed from the events folder and pass validation."""

import official
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.params import EventsParams, ValidateParams
from amtl.sources.published.registry import PUBLISHED
from amtl.sources.source import DAY, declared
from amtl.sources.writing import write_days
from amtl.validation.checks import breaks, checks
from amtl.validation.profile import profile

LEAKS = {"rating", "epoch", "id", "nonclk", "instance_id", "context_id", "line", "day"}


def test_every_name_has_made_files():
    assert set(PUBLISHED) == set(official.ALL)


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_come_back_as_declared(tmp_path, name):
    files = official.ALL[name]
    source = PUBLISHED[name].read(official.write(tmp_path / "files", files), "2026-03-01")
    assert source.section["name"] == name
    assert source.frame.collect_schema().names() == [*declared(source.section), DAY]
    assert {path.name for path in source.inputs} == set(files)
    events = EventsParams.model_validate(source.section)
    assert not LEAKS & {field.name for field in events.fields}
    write_days(source, tmp_path / "events")
    parts = ev.partitions(tmp_path / "events")
    rows = ev.collect(ev.scan(parts, events))
    assert len(rows) >= len(next(iter(files.values()))) - 1
    required = [field.name for field in events.fields if not field.optional]
    assert rows.select(events.label, *required).null_count().sum_horizontal().item() == 0
    assert len(rows) == pl.scan_parquet([file for part in parts for file in part.files]).select(pl.len()).collect().item()
    assert source.rows in (len(rows), None)
    bounds = [check for check in checks(events, ValidateParams()) if check.severity == "critical"]
    for line in pl.concat(profile(part, events).lines for part in parts).iter_rows(named=True):
        assert [check.found for check in bounds if breaks(check, line)] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_days_of_few_users_are_not_judged_by_the_days_before(tmp_path, name):
    source = PUBLISHED[name].read(official.write(tmp_path / "files", official.ALL[name]), "2026-03-01")
    judged = {check.figure for check in checks(EventsParams.model_validate(source.section), ValidateParams())}
    assert {figure for figure in judged if figure.endswith("_jump")} == (
        set() if name.startswith("movielens") else {"volume_jump", "label_rate_jump", "new_values_jump"}
    )
