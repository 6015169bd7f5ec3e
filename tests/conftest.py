"""The environment of all tests: no telemetry, and no store of the developer's own workspace within reach."""

import os

import pytest

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
STORES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "AMTL_ARTIFACT_ROOT", "AMTL_ROOT", "AMTL_LOCK_HELD", "AMTL_FLOW_PID", "DVC_STAGE")
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
