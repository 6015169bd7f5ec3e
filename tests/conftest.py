"""The environment of all tests: no telemetry, and no store of the developer's own workspace within reach. A small DVC workspace."""

import os
import shutil
import sys
import tempfile
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


def pytest_configure(config):
    """Set it before any module is imported: some tools look at it then."""
    folder = tempfile.mkdtemp(prefix="amtl-tests-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    for name in (*STORES, *PREFECT):
        os.environ.pop(name, None)
    places = {"MPLCONFIGDIR": "matplotlib", "PREFECT_HOME": "prefect", "DVC_SITE_CACHE_DIR": "dvc"}
    os.environ.update(TELEMETRY_OFF | {name: f"{folder}/{place}" for name, place in places.items()})


def pytest_collection_modifyitems(items):
    """The pipeline's file takes longest: with `-n` it must start first."""
    items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)


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
