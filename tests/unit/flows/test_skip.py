"""`amtl skip-day`: refused and good days go on the record, and what is wrong changes nothing."""

import json

import days
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from amtl import cli, environment, stages
from amtl.data.events import partitions
from amtl.errors import DataError, ParamsError
from amtl.validation.skipped import SkippedDays


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with three days, as the current folder."""
    for mark in environment.MARKS:
        (tmp_path / mark).write_text("")
    days.days(tmp_path / "data" / "events", 3, rows=5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "apply", lambda root: None)
    return tmp_path


def amtl(*arguments):
    return CliRunner().invoke(cli.app, ["skip-day", *arguments], catch_exceptions=True)


def left_out(root):
    return [entry.day for entry in SkippedDays.read(root / "skipped_days.yaml").within(partitions(root / "data" / "events"))]


def test_a_day_is_left_out_and_taken_in_again(workspace):
    done = amtl("2026-01-02", "--why", "counted twice")
    assert done.exit_code == 0, done.output
    assert "2026-01-02 is left out" in done.output
    assert left_out(workspace) == ["2026-01-02"]
    assert amtl("2026-01-02", "--undo").exit_code == 0
    assert left_out(workspace) == []


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("2026-01-09", "--why", "x"), DataError, "holds no day 2026-01-09, only 3 days from 2026-01-01 to 2026-01-03"),
        (("yesterday", "--why", "x"), DataError, "holds no day yesterday"),
        (("2026-01-02",), ParamsError, "needs a reason"),
        (("2026-01-02", "--why", "  "), ParamsError, "needs a reason"),
        (("2026-01-02", "--undo"), ParamsError, "is not skipped"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(workspace, arguments, error, said):
    done = amtl(*arguments)
    assert isinstance(done.exception, error)
    assert said in str(done.exception)
    assert not (workspace / "skipped_days.yaml").exists()


def test_a_refused_day_stops_the_run_until_it_is_skipped(workspace, capsys, monkeypatch):
    monkeypatch.setattr("amtl.processes.die_with_parents", lambda: None)
    declared = {"name": "days", "label": "click", "time": "at", "split": days.SPLIT, "fields": days.FIELDS}
    limits = {"label_rate": [0.01, 0.99], "max_null_share": 0.9}
    (workspace / "params.yaml").write_text(yaml.safe_dump({"events": declared, "validate": limits, "register": {"name": "days"}}))
    for day in range(3):
        days.write(workspace / "data" / "events", day, days.frame(60, day))
    days.write(workspace / "data" / "events", 3, days.frame(60, 3).with_columns(click=pl.lit(2)))
    assert stages.main(["validate"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("amtl: error: ")
    assert "amtl skip-day 2026-01-04 --why TEXT" in said
    assert not (stages.VALIDATE / "accepted.json").exists()
    assert amtl("2026-01-04", "--why", "labels are broken").exit_code == 0
    assert stages.main(["validate"]) == 0
    accepted = json.loads((stages.VALIDATE / "accepted.json").read_text())
    assert [entry["day"] for entry in accepted["partitions"]] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [(entry["day"], entry["why"]) for entry in accepted["skipped"]] == [("2026-01-04", "labels are broken")]
    assert amtl("2026-01-04", "--undo").exit_code == 0
    assert stages.main(["validate"]) == 1
