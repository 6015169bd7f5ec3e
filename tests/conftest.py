"""The environment of all tests: no telemetry, and no store of the developer's own workspace within reach. A small DVC workspace."""

import os
import sys
import textwrap
from pathlib import Path

import pytest

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "AMTL_ARTIFACT_ROOT", "AMTL_ROOT", "AMTL_LOCK_HELD", "AMTL_FLOW_PID", "DVC_STAGE")
DVC_CONFIG = """\
[core]
    no_scm = true
    analytics = false
['remote "sample"']
    url = ../sample_store
"""
PREFECT = ("PREFECT_API_URL", "PREFECT_PROFILE")


@pytest.fixture(autouse=True, scope="session")
def _clean_environment(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in (*STORES, *PREFECT):
            patch.delenv(name, raising=False)
        for name, value in TELEMETRY_OFF.items():
            patch.setenv(name, value)
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp() / "matplotlib"))
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.getbasetemp() / "prefect"))
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "dvc"))
        yield os.environ


@pytest.fixture
def dvc(tmp_path, monkeypatch):
    """A function that makes the workspace from the text of dvc.yaml; no git, no stage has run."""
    root = tmp_path / "work space"

    def make(stages=""):
        for folder in (".dvc", "data/events"):
            (root / folder).mkdir(parents=True)
        (root / ".dvc" / "config").write_text(DVC_CONFIG)
        (root / "data" / "events" / "day").write_text("events\n")
        (root / "params.yaml").write_text("a: 1\nb: 1\n")
        (root / "dvc.yaml").write_text(textwrap.dedent(stages))
        return root

    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return make
