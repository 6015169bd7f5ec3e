"""The connection to MLflow, and what it holds: versions, aliases, tags."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from amtl.errors import RegistryError

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST = "amtl.digest"
DEFAULTS = {  # the environment's own values win
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",  # half a minute for a server that restarts; MLflow's 7 are silent for minutes
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Version:
    """A version of a registered model. `digest` is its bundle's identity, empty if the version was not made by amtl."""

    name: str
    number: int
    digest: str
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]


def get(name: str, number: int) -> Version:
    """A version by its number.

    Raises:
        RegistryError: there is no such version.
    """
    with connected() as client:
        found = or_none(lambda: client.get_model_version(name, str(number)))
        if found is None:
            raise RegistryError(f"{name} has no version {number}; `amtl status` lists the versions")
        return version_of(found, aliases(client, name))


def versions(name: str) -> list[Version]:
    """All versions of a model, the oldest first."""
    return _search(f"name = '{name}'", name)


def find(name: str, digest: str) -> Version | None:
    """The version whose bundle has this digest."""
    found = _search(f"name = '{name}' and tags.`{DIGEST}` = '{digest}'", name)
    return found[0] if found else None


def champion(name: str) -> Version | None:
    """The version that serves."""
    with connected() as client:
        number = aliases(client, name).get(CHAMPION)
    return None if number is None else get(name, number)


def set_verdict(version: Version, verdict: str, reasons: Sequence[str]) -> None:
    """Tag a version with the gate's decision and its reasons, one a line."""
    tag(version.name, version.number, {"amtl.verdict": verdict, "amtl.reasons": "\n".join(reasons), "amtl.judged_at": now()})


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """An `MlflowClient` on MLFLOW_TRACKING_URI; what MLflow and its database raise inside becomes a `RegistryError`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise RegistryError('MLFLOW_TRACKING_URI is not set; run `eval "$(amtl env)"` in the workspace first')
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    try:
        yield MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
    except (MlflowException, SQLAlchemyError) as error:
        raise RegistryError(f"MLflow (MLFLOW_TRACKING_URI) refused: {' '.join(str(error).split())[:400]}") from error


def or_none(read: Callable[[], Any]) -> Any:
    """What `read` returns, or None if MLflow says that the thing does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return read()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def aliases(client: Any, name: str) -> dict[str, int]:
    """Alias to version number; empty where there is no such model."""
    return aliases_of(or_none(lambda: client.get_registered_model(name)))


def aliases_of(model: Any) -> dict[str, int]:
    """Alias to version number of MLflow's registered model (or None)."""
    return {alias: int(number) for alias, number in model.aliases.items()} if model else {}


def version_of(entry: Any, by_alias: Mapping[str, int]) -> Version:
    """MLflow's model version as ours; the aliases come from outside, since what MLflow finds by search does not know its own."""
    number, tags = int(entry.version), dict(entry.tags)
    held = tuple(sorted(alias for alias, target in by_alias.items() if target == number))
    return Version(entry.name, number, tags.get(DIGEST, ""), entry.run_id or "", held, tags)


def tag(name: str, number: int, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    with connected() as client:
        for key, value in tags.items():
            client.set_model_version_tag(name, str(number), key, value)


def texts(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow wants them; entries that are None are left out."""
    return {key: str(value) for key, value in tags.items() if value is not None}


def now() -> str:
    """The time, UTC, ISO 8601, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _search(condition: str, name: str) -> list[Version]:
    with connected() as client:
        by_alias, found, token = aliases(client, name), [], None
        while True:
            page = client.search_model_versions(condition, page_token=token)
            found += [version_of(entry, by_alias) for entry in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda version: version.number)
