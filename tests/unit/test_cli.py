"""The command line's surface: every command explains itself, and a user's mistake is one line."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from amtl import cli

COMMANDS = ["sample", "ingest", "fetch", "skip-day", "retrain", "compare", "promote", "rollback", "parent", "status", "inspect", "env"]


def test_the_commands_are_these():
    """A list, so that the surface does not grow by accident."""
    assert [command.callback.__name__.replace("_", "-") for command in cli.app.registered_commands] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command):
    shown = CliRunner().invoke(cli.app, [command, "--help"])
    assert shown.exit_code == 0
    assert re.search(rf"Example: .*amtl {command}\b", shown.output), shown.output


@pytest.mark.parametrize("arguments", [["status"], ["retrain"], ["compare"], ["env"], ["parent", "none"], ["sample"]])
def test_outside_a_workspace_is_one_line(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["amtl", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert re.fullmatch(r"amtl: error: .* is not in an amtl workspace .*\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_inspect_names_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").mkdir()
    monkeypatch.setattr("sys.argv", ["amtl", "inspect", "bundle"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "manifest.json is missing" in capsys.readouterr().err


def test_torch_is_imported_in_the_environment_of_the_workspace():
    """It reads only then how its threads are to wait for one another; spinning, they are many times slower beside other work."""
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from amtl import cli\n"
        "def entered():\n"
        "    print('torch' in sys.modules)\n"
        "    raise SystemExit\n"
        "cli._workspace = entered\n"
        "for arguments in (['retrain'], ['compare'], ['promote'], ['rollback'], ['sample']):\n"
        "    print(CliRunner().invoke(cli.app, arguments).output, end='')\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == ["False"] * 5
