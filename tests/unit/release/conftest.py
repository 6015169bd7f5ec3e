"""A real MLflow store in SQLite, made once, and small real bundles and states to register."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
import torch

from amtl import files
from amtl.data.batches import Scaling
from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import ModelConfig, build
from amtl.packing import bundle
from amtl.packing.layout import Layout
from amtl.params import EventsParams, TrainParams
from amtl.release import registry

EVENTS = EventsParams.model_validate(
    {
        "name": "tiny",
        "label": "click",
        "split": {"kind": "random"},
        "fields": [
            {"name": "user", "type": "integer"},
            {"name": "item", "type": "string", "optional": True},
            {"name": "tags", "kind": "ids", "type": "string", "optional": True},
            {"name": "age", "kind": "number", "optional": True},
        ],
    }
)


class Made(NamedTuple):
    """A bundle and a state to register, and a run to register them from."""

    bundle: Path
    state: Path
    run_id: str


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of a store under a path with a space; MLflow takes seconds to make one."""
    return f"sqlite:///{tmp_path_factory.mktemp('a store')}/.mlflow/mlflow.db"


@pytest.fixture
def store(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store, named by the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return store_uri


@pytest.fixture
def name() -> str:
    """A registered model's name that no other test uses."""
    return f"tiny-{uuid.uuid4().hex[:8]}"


def write_bundle(path: Path, seed: int = 0) -> Path:
    """A bundle of random weights over five values, dimension 4."""
    torch.manual_seed(seed)
    seen = [("user", "1", 9), ("user", "2", 1), ("item", "a", 5), ("tags", "red", 4), ("tags", "blue", 3)]
    counts = pl.DataFrame(seen, schema=["field", "value", "count"], orient="row")
    vocabulary = Vocabulary.empty(EVENTS).grow(counts)
    model = build(ModelConfig.of(EVENTS, TrainParams(dim=4, hidden=(8,))), vocabulary.rows, init_std=1.0)
    sizes_V = torch.arange(vocabulary.rows) % 5
    layout = Layout.of_sizes(sizes_V, torch.from_numpy(vocabulary.fields_V), 4, "fp32")
    contents = bundle.Contents(model, layout, vocabulary, EVENTS, Scaling({"age": 30.0}, {"age": 10.0}), {"budget": 0.4}, "# Tiny\n")
    bundle.write(path, contents)
    return path


def make(folder: Path, seed: int) -> Made:
    """A bundle and a state that depend on the seed, and a new run."""
    if not folder.exists():
        write_bundle(folder / "bundle", seed)
        with files.publish_folder(folder / "state") as state:
            files.publish_text(state / "weights", f"seed {seed}")
            files.write_manifest(state, format=1, kind="state")
    return Made(folder / "bundle", folder / "state", registry.open_run("tests", f"seed {seed}", {}))


@pytest.fixture
def made(store: str, tmp_path: Path) -> Callable[[int], Made]:
    """Makes the bundle of a seed, and opens a run."""
    return lambda seed: make(tmp_path / f"seed-{seed}", seed)


@pytest.fixture(scope="session")
def originals(store_uri: str, tmp_path_factory: pytest.TempPathFactory) -> list[registry.Version]:
    """Three registered versions, whose files other models' versions may share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store_uri)
        parts = [make(tmp_path_factory.mktemp("original") / "made", seed) for seed in (1, 2, 3)]
        return [registry.register("originals", one.bundle, one.state, one.run_id, {}) for one in parts]


@pytest.fixture
def registered(store: str, name: str, originals: list[registry.Version]) -> Callable[[int], str]:
    """Makes a model with versions 1, 2, ... and returns its name."""
    from mlflow import MlflowClient

    def register(count: int) -> str:
        client = MlflowClient()
        client.create_registered_model(name)
        for version in originals[:count]:
            client.create_model_version(name, f"runs:/{version.run_id}/model", version.run_id, tags=version.tags)
        client.set_registered_model_alias(name, "challenger", str(count))
        return name

    return register
