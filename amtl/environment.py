"""Where a workspace is, and the environment that its tools need.

All state of DVC, MLflow, Prefect and matplotlib stays inside the workspace, their telemetry is off, and no tool may
unpickle. `amtl` sets this for itself (`apply`); `eval "$(amtl env)"` gives the same to bare `dvc`, `mlflow`, `prefect`.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from amtl.errors import WorkspaceError

LOCAL_API = "http://127.0.0.1:4200/api"
"""Where `prefect server start` listens unless told otherwise."""

ROOT = "AMTL_ROOT"
"""Environment variable that says which workspace the other variables are for."""

LONGEST_TEMPORARY = 70

MARKS = ("dvc.yaml", "params.yaml")
"""The files that make a folder a workspace."""


def find_root(start: Path) -> Path:
    """The workspace that holds the folder `start`.

    Raises:
        WorkspaceError: neither it nor a folder above it holds dvc.yaml and params.yaml.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if all((folder / mark).is_file() for mark in MARKS):
            return folder
    raise WorkspaceError(f"{start} is not in an amtl workspace (a folder with {' and '.join(MARKS)}); change to one and try again")


def variables(root: Path) -> dict[str, str]:
    """The environment of the tools in the workspace `root`; what the user has set wins, safety switches excepted."""
    defaults = {**_places(root), **_TELEMETRY_OFF, **_HABITS}
    users = {name: os.environ[name] for name in defaults if _is_the_users(name)}
    return {**defaults, **users, **_SAFETY, ROOT: str(root), "PATH": _path_with(Path(sys.prefix) / "bin")}


def apply(root: Path) -> None:
    """Set `variables` for this process and what it starts, and make the folders that must be there."""
    os.environ.update(variables(root))
    make_folders(root)


def make_folders(root: Path) -> None:
    """Make the folder in which MLflow's database lies, and the one for temporary files."""
    for folder in (".mlflow", ".amtl/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)


def export_lines(root: Path) -> str:
    """`variables` as shell commands, for `eval`.

    PREFECT_API_URL is among them (a worker cannot do without), unless the user has pointed Prefect at a server already.
    """
    settings = variables(root)
    profiles = Path(settings["PREFECT_HOME"]) / "profiles.toml"
    if not (profiles.is_file() and "PREFECT_API_URL" in profiles.read_text(encoding="utf-8")):
        settings["PREFECT_API_URL"] = os.environ.get("PREFECT_API_URL") or LOCAL_API
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())


def _places(root: Path) -> dict[str, str]:
    places = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{root}/.mlflow/mlflow.db",
        "AMTL_ARTIFACT_ROOT": f"{root}/.mlflow/artifacts",
        "PREFECT_HOME": f"{root}/.prefect",
        "DVC_SITE_CACHE_DIR": f"{root}/.dvc/tmp/site",
        "MPLCONFIGDIR": f"{root}/.amtl/matplotlib",
    }
    temporary = f"{root}/.amtl/tmp"
    # A Prefect worker keeps files in one folder of the temporary folder that belongs to whoever came first on this machine.
    # A long path is left out: the name of a socket in it must fit into 107 bytes.
    return places if len(temporary) > LONGEST_TEMPORARY else {**places, "TMPDIR": temporary}


_TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

_HABITS = {
    "PYTHONUNBUFFERED": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Otherwise `mlflow server` starts seven idle workers, about 2 GB.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # SQLite on a loaded machine: better late than "database is locked".
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Torch's threads wait for one another asleep, not spinning: an epoch beside other work took 5 s instead of 33 s.
    "OMP_WAIT_POLICY": "PASSIVE",
}

_SAFETY = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def _is_the_users(name: str) -> bool:
    """Whether a variable is set, and not only left over from `amtl env` in another workspace."""
    value, elsewhere = os.environ.get(name), os.environ.get(ROOT)
    return bool(value) and not (elsewhere and value == _places(Path(elsewhere)).get(name))


def _path_with(folder: Path) -> str:
    """PATH with `folder` in front, once."""
    others = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != str(folder)]
    return os.pathsep.join([str(folder), *others])
