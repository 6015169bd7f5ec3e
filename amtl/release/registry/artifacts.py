"""A bundle and its state become a version of a registered model, and come back as folders."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from amtl import files
from amtl.errors import ArtifactError, RegistryError
from amtl.release.registry.store import CHALLENGER, CHAMPION, DIGEST, Version, connected, find, get, or_none, texts, version_of, versions

Part = Literal["bundle", "state"]
URI: dict[Part, str] = {"bundle": "amtl.bundle_uri", "state": "amtl.state_uri"}
PART_DIGEST: dict[Part, str] = {"bundle": DIGEST, "state": "amtl.state_digest"}
BUNDLE = "bundle"  # its folder among the MLflow model's artifacts
REQUIREMENTS = ("mlflow", "numpy", "pandas", "polars", "pyarrow", "pydantic", "pyyaml", "safetensors", "torch")
PACKAGE = Path(__file__).parents[2]
SERVING = PACKAGE / "release" / "serving.py"


def register(name: str, bundle: Path, state: Path, run_id: str, tags: Mapping[str, Any]) -> Version:
    """Register a bundle and its state as a version with the alias `challenger`, unless it is the champion already.

    The same bundle is one version however often it is registered. The version is created last, with its tags, when all its
    files are there: after a crash a second call completes the work.

    Args:
        name: the registered model, made where there is none.
        bundle: the folder that is served.
        state: the folder for the next warm start.
        run_id: the run that keeps the files, under `model/` and `state/`; one run holds one version.
        tags: lineage: data digest, commit, parent, budget and so on; entries that are None are left out.

    Raises:
        ArtifactError: the bundle or the state is missing or damaged; nothing was registered.
        RegistryError: the run already holds another version.
    """
    digests: dict[Part, str] = {"bundle": _digest("bundle", bundle), "state": _digest("state", state)}
    version = find(name, digests["bundle"])
    if version is None:
        _refuse_second(name, run_id)
        uris = {URI["bundle"]: f"runs:/{run_id}/model/artifacts/{BUNDLE}", URI["state"]: f"runs:/{run_id}/state"}
        own = {PART_DIGEST[part]: digest for part, digest in digests.items()}
        version = _create(name, bundle, state, run_id, {**texts(tags), **uris, **own})
    if CHAMPION not in version.aliases:
        with connected() as client:
            client.set_registered_model_alias(name, CHALLENGER, str(version.number))
    return get(name, version.number)


def fetch(name: str, number: int, what: Part, destination: Path) -> Path:
    """Bring a version's bundle or state as the folder `destination`, verified, whole or not at all.

    Raises:
        RegistryError: there is no such version, or it does not keep this part.
        ArtifactError: the files are damaged, or not those that were registered.
    """
    version = get(name, number)
    uri = version.tags.get(URI[what])
    if uri is None:
        raise RegistryError(f"version {number} of {name} keeps no {what}; choose another version (`amtl status` lists them)")
    with files.publish_folder(destination) as folder:
        with connected(), tempfile.TemporaryDirectory(dir=folder, prefix=".") as download:
            from mlflow.artifacts import download_artifacts

            for path in list(Path(download_artifacts(artifact_uri=uri, dst_path=download)).iterdir()):
                path.replace(folder / path.name)
        if _digest(what, folder) != version.tags.get(PART_DIGEST[what]):
            raise ArtifactError(f"the {what} of version {number} of {name} is not the one that was registered; choose another version")
    return destination


def _create(name: str, bundle: Path, state: Path, run_id: str, tags: dict[str, str]) -> Version:
    with connected() as client, tempfile.TemporaryDirectory(prefix="amtl-") as temporary:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        plain, model = Path(temporary) / BUNDLE, Path(temporary) / "model"
        shutil.copytree(bundle, plain, copy_function=shutil.copyfile)  # DVC may have linked it, and MLflow refuses links
        _save_pyfunc(plain, model)
        store = get_artifact_repository(client.get_run(run_id).info.artifact_uri)
        for folder, path in (("state", state), ("model", model)):
            if client.list_artifacts(run_id, folder):
                store.delete_artifacts(folder)  # left by an attempt that died; its files may differ from these
            client.log_artifacts(run_id, str(path), folder)
        if or_none(lambda: client.get_registered_model(name)) is None:
            client.create_registered_model(name)
        return version_of(client.create_model_version(name, f"runs:/{run_id}/model", run_id, tags=tags), {})


def _save_pyfunc(bundle: Path, path: Path) -> None:
    """Write the MLflow model: the bundle, the code that reads it, what must be installed for it."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema, TensorSpec
    from numpy import dtype

    fields = files.read_json(bundle / files.MANIFEST)["events"]["fields"]
    # No column types: MLflow refuses a missing integer, and an odd value is an unknown value here, not an error.
    columns = Schema([ColSpec(AnyType(), entry["name"], required=not entry.get("optional", False)) for entry in fields])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        mlflow.pyfunc.save_model(
            path=str(path),
            python_model=str(SERVING),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(PACKAGE)],
            signature=ModelSignature(columns, Schema([TensorSpec(dtype("float64"), (-1,))])),
            # A local label such as +cpu names a build that no package index has.
            pip_requirements=[f"{package}=={metadata.version(package).partition('+')[0]}" for package in REQUIREMENTS],
        )


def _refuse_second(name: str, run_id: str) -> None:
    held = [version.number for version in versions(name) if version.run_id == run_id]
    if held:
        raise RegistryError(f"run {run_id} holds version {held[0]} of {name} and its files; register another bundle from a run of its own")


def _digest(part: Part, folder: Path) -> str:
    """Digest of a bundle or a state, every file verified."""
    if part == "state":
        return files.digest_of(files.verify_manifest(folder)["files"])
    from amtl.packing.bundle import identity

    return identity(folder)
