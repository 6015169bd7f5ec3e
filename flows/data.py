"""The data folder as DVC knows it: pinned by data.dvc, and fetched from the sample store if it is the bundled sample.

The sample store is committed with the code, so it must never take in anything else. data.dvc names it only while the
data are the sample, and even then with `push: false`, so that a bare `dvc push` after a bare `dvc add` cannot fill it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from amtl import files
from amtl.errors import DataError, WorkspaceError
from flows import dvc_repo

STORE = "sample_store"
FETCHED_FROM_STORE = {"remote": "sample", "push": False}


def pinned(root: Path) -> str:
    """The MD5 by which data.dvc pins the data; empty if nothing is pinned yet.

    Raises:
        WorkspaceError: data.dvc is not a file that `dvc add data` makes.
    """
    path = root / "data.dvc"
    return str(_output(path)[1]["md5"]) if path.exists() else ""


def pin(root: Path) -> str:
    """Bring data.dvc up to date with data/ (`dvc add data`) where they differ; returns the MD5.

    Raises:
        DataError: there are no events.
        WorkspaceError: DVC refuses.
    """
    if not (root / "data" / "events").is_dir():
        wanted = "fetch what data.dvc names with `dvc pull data.dvc`, or make" if (root / "data.dvc").exists() else "make"
        raise DataError(f"{root / 'data' / 'events'} does not exist; {wanted} events with `amtl sample` or `amtl ingest`")
    if not is_clean(root):
        dvc_repo.ask(root, lambda repo: repo.add([str(root / "data")]))
    _name_store(root)
    return pinned(root)


def is_clean(root: Path) -> bool:
    """Whether data/ is what data.dvc pins."""
    path = root / "data.dvc"
    return (root / "data").is_dir() and path.exists() and not dvc_repo.ask(root, lambda repo: repo.status([str(path)]))


def _name_store(root: Path) -> None:
    """Let data.dvc name the sample store exactly if the store holds these data."""
    path = root / "data.dvc"
    content, output = _output(path)
    digest = str(output["md5"])
    stored = (root / STORE / "files" / "md5" / digest[:2] / digest[2:]).is_file()
    wanted = {**{key: value for key, value in output.items() if key not in FETCHED_FROM_STORE}, **(FETCHED_FROM_STORE if stored else {})}
    if wanted != output and (stored or output.get("remote") == FETCHED_FROM_STORE["remote"]):
        files.publish_text(path, yaml.safe_dump({**content, "outs": [wanted]}, sort_keys=False))


def _output(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The content of data.dvc and its one output."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        (output,) = content["outs"]
        output["md5"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise WorkspaceError(f"{path} is not a file that `dvc add data` makes; delete it and run `dvc add data`") from None
    return content, output
