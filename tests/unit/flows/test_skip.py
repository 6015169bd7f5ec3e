"""`amtl skip-day`: refused and good days go on the record, and what is wrong changes nothing."""

import days
import pytest
from typer.testing import CliRunner

from amtl import cli, environment
from amtl.data.events import partitions
from amtl.data.skipped import SkippedDays
from amtl.errors import DataError, ParamsError


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
