"""The environment of the tools: inside the workspace, quiet, safe, and the user's own settings kept."""

import shlex
import subprocess
from pathlib import Path

import pytest

from amtl import environment
from amtl.errors import WorkspaceError


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    for name in [*environment.variables(Path("/w")), "PREFECT_API_URL"]:
        if name != "PATH":
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "a 'strange' $HOME folder"
    folder.mkdir()
    (folder / "dvc.yaml").touch()
    (folder / "params.yaml").touch()
    return folder


def test_the_workspace_is_found_from_below(root):
    below = root / "data" / "events"
    below.mkdir(parents=True)
    assert environment.find_root(below) == environment.find_root(root) == root


def test_no_workspace_is_an_error(tmp_path):
    with pytest.raises(WorkspaceError, match=r"dvc\.yaml and params\.yaml"):
        environment.find_root(tmp_path)


def test_all_state_lies_in_the_workspace(root):
    settings = environment.variables(root)
    for name in ("MLFLOW_TRACKING_URI", "AMTL_ARTIFACT_ROOT", "PREFECT_HOME", "DVC_SITE_CACHE_DIR", "MPLCONFIGDIR"):
        assert str(root) in settings[name]


def test_the_users_settings_win_but_for_unpickling(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    settings = environment.variables(root)
    assert settings["MLFLOW_TRACKING_URI"] == "http://mlflow.example"
    assert settings["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_what_another_workspace_has_set_does_not_win(root, tmp_path, monkeypatch):
    for name, value in environment.variables(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_HOME", "/mine")
    settings = environment.variables(root)
    assert settings["MLFLOW_TRACKING_URI"] == f"sqlite:///{root}/.mlflow/mlflow.db"
    assert settings["PREFECT_HOME"] == "/mine"


def test_the_environments_programs_come_first_and_once(root, monkeypatch):
    first = environment.variables(root)["PATH"]
    monkeypatch.setenv("PATH", first)
    assert environment.variables(root)["PATH"] == first


def test_a_shell_reads_the_lines_as_they_are_meant(root):
    script = f'{environment.export_lines(root)}printf \'%s\\n\' "$PREFECT_HOME" "$MLFLOW_TRACKING_URI" "$PREFECT_API_URL"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [f"{root}/.prefect", f"sqlite:///{root}/.mlflow/mlflow.db", environment.LOCAL_API]


@pytest.mark.parametrize("by", ["environment", "profile"])
def test_a_prefect_server_of_the_user_is_left_alone(root, monkeypatch, by):
    if by == "environment":
        monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    else:
        (root / ".prefect").mkdir()
        (root / ".prefect" / "profiles.toml").write_text('[profiles.local]\nPREFECT_API_URL = "http://prefect.example/api"\n')
    words = shlex.split(environment.export_lines(root))
    assert f"PREFECT_API_URL={environment.LOCAL_API}" not in words
    assert ("PREFECT_API_URL=http://prefect.example/api" in words) == (by == "environment")


def test_apply_sets_what_variables_says(root, monkeypatch):
    for name, value in environment.variables(root).items():
        monkeypatch.setenv(name, value)
    environment.apply(root)
    assert (root / ".mlflow").is_dir()
