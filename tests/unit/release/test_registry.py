from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amtl
from amtl import files
from amtl.errors import AmtlError, ArtifactError, RegistryError
from amtl.release import registry


def client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient()


def artifacts_of(run_id: str) -> Path:
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(run_id=run_id, artifact_path=""))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "call",
    [
        lambda path: registry.get("tiny", 1),
        lambda path: registry.find("tiny", "digest"),
        lambda path: registry.champion("tiny"),
        lambda path: registry.versions("tiny"),
        lambda path: registry.open_run("tests", "run", {}),
        lambda path: registry.fetch("tiny", 1, "bundle", path / "bundle"),
        lambda path: registry.promote("tiny", 1, None, "test", "why"),
        lambda path: registry.rollback("tiny", "test", "why"),
        lambda path: registry.ledger("tiny"),
        lambda path: registry.stage_run("train", "tests").__enter__(),
    ],
)
def test_without_a_tracking_uri_the_error_says_what_to_run(
    call: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(RegistryError, match=r'eval "\$\(amtl env\)"'):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_model_is_empty_not_an_error(store: str, name: str) -> None:
    assert registry.champion(name) is None
    assert registry.find(name, "digest") is None
    assert registry.versions(name) == []
    assert registry.ledger(name) == []
    with pytest.raises(RegistryError, match="no version 1"):
        registry.get(name, 1)


def test_the_same_bundle_is_one_version(made: Callable[..., Any], name: str) -> None:
    one, two = made(1), made(2)
    first = registry.register(name, one.bundle, one.state, one.run_id, {"budget": "40%", "parent": None})
    again = registry.register(name, one.bundle, one.state, made(1).run_id, {"budget": "other"})
    other = registry.register(name, two.bundle, two.state, two.run_id, {})
    assert first == again
    assert (first.number, other.number) == (1, 2)
    assert first.tags["budget"] == "40%"
    assert "parent" not in first.tags
    assert first.digest == first.tags["amtl.digest"] != other.digest
    assert registry.find(name, first.digest) == registry.get(name, 1)
    assert [version.aliases for version in registry.versions(name)] == [(), ("challenger",)]
    assert first.aliases == ("challenger",)


def test_a_champion_registered_again_is_no_challenger(made: Callable[..., Any], name: str) -> None:
    one = made(1)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    registry.promote(name, 1, None, "test", "first")
    assert registry.register(name, one.bundle, one.state, one.run_id, {}).aliases == ("champion",)


def test_one_run_holds_one_version(made: Callable[..., Any], name: str) -> None:
    one, two = made(1), made(2)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    with pytest.raises(RegistryError, match="a run of its own"):
        registry.register(name, two.bundle, two.state, one.run_id, {})
    registry.smoke_test(name, 1)


@pytest.mark.parametrize("part", ["bundle", "state"])
@pytest.mark.parametrize("damage", ["flip", "add", "remove", "all"])
def test_what_is_damaged_is_refused_and_nothing_registered(
    made: Callable[..., Any], name: str, part: str, damage: str, tmp_path: Path
) -> None:
    one = made(1)
    folder = getattr(one, part)
    file = next(path for path in sorted(folder.iterdir()) if path.name != files.MANIFEST)
    match damage:
        case "flip":
            flip(file)
        case "add":
            (folder / "extra").write_text("x")
        case "remove":
            file.unlink()
        case "all":
            folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError):
        registry.register(name, one.bundle, one.state, one.run_id, {})
    assert registry.versions(name) == []
    assert client().list_artifacts(one.run_id) == []


def test_what_is_fetched_is_what_was_registered(made: Callable[..., Any], name: str, tmp_path: Path) -> None:
    one = made(1)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    for part, source in (("bundle", one.bundle), ("state", one.state)):
        got = registry.fetch(name, 1, part, tmp_path / "fetched" / part)  # type: ignore[arg-type]
        assert {path.name: path.read_bytes() for path in got.iterdir()} == {path.name: path.read_bytes() for path in source.iterdir()}


def test_folders_of_read_only_links_are_registered_as_files(made: Callable[..., Any], name: str, tmp_path: Path) -> None:
    """As DVC lays them down with `cache.type symlink`."""
    one = made(1)
    for part in ("bundle", "state"):
        (tmp_path / "linked" / f"my {part}").mkdir(parents=True)
        for path in getattr(one, part).iterdir():
            path.chmod(0o444)
            (tmp_path / "linked" / f"my {part}" / path.name).symlink_to(path)
    registry.register(name, tmp_path / "linked" / "my bundle", tmp_path / "linked" / "my state", one.run_id, {})
    assert not any(path.is_symlink() for path in artifacts_of(one.run_id).rglob("*"))
    registry.smoke_test(name, 1)
    registry.fetch(name, 1, "state", tmp_path / "state")


def test_damage_in_the_store_is_found_and_the_old_folder_kept(made: Callable[..., Any], name: str, tmp_path: Path) -> None:
    one = made(1)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    flip(artifacts_of(one.run_id) / "model/artifacts/bundle/table.safetensors")
    flip(artifacts_of(one.run_id) / "state/weights")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine").write_text("mine")
    for part in ("bundle", "state"):
        with pytest.raises(ArtifactError, match="damaged"):
            registry.fetch(name, 1, part, tmp_path / "old")  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["mine"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_another_whole_bundle_in_the_store_is_found(made: Callable[..., Any], name: str, tmp_path: Path) -> None:
    one, two = made(1), made(2)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    client().log_artifacts(one.run_id, str(two.bundle), "model/artifacts/bundle")
    with pytest.raises(ArtifactError, match="not the one that was registered"):
        registry.fetch(name, 1, "bundle", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_part_that_is_not_kept_is_named(made: Callable[..., Any], name: str, tmp_path: Path) -> None:
    one = made(1)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    client().delete_model_version_tag(name, "1", "amtl.state_uri")
    with pytest.raises(RegistryError, match="keeps no state"):
        registry.fetch(name, 1, "state", tmp_path / "state")


def test_the_pyfunc_gives_the_bundle_s_numbers(made: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    one = made(1)
    registry.register(name, one.bundle, one.state, one.run_id, {})
    registry.promote(name, 1, None, "test", "first")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    predictor = amtl.load(one.bundle)
    for frame in (
        pd.DataFrame({"user": [1, 2, 77]}),
        pd.DataFrame({"user": [1, None], "item": ["a", None], "tags": [["red", "odd"], None], "age": [31, None]}),
        pd.DataFrame({"user": ["1", "odd"], "tags": [np.array(["red"]), []], "more": [1, 2]}),
        pd.DataFrame({"user": pd.array([2, None], dtype="Int64"), "item": [3, 4.5]}),
        pd.DataFrame({"user": pd.Series([], dtype="int64")}),
    ):
        guesses = model.predict(frame)
        assert guesses.dtype == np.float64
        assert np.array_equal(guesses, predictor.predict(frame))
    assert len(set(model.predict(pd.DataFrame({"user": [1, 2, 77]})))) == 3
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        model.predict(pd.DataFrame({"item": ["a"]}))
    stored = [path.suffix for path in artifacts_of(one.run_id).rglob("*")]
    assert not {".pkl", ".pickle", ".pt", ".pyc"} & set(stored)


def test_a_run_keeps_what_is_logged(store: str, tmp_path: Path) -> None:
    run_id = registry.open_run("tests", "named", {"data": "abc", "parent": None})
    registry.log_params(run_id, {"train": {"epochs": 3, "hidden": [8, 4]}, "long": "x" * 7000, **{f"p{i}": i for i in range(150)}})
    logger = registry.RunLogger(run_id)
    logger.metrics({"auc": 0.7, "bad": float("nan"), "name": "text", **{f"m{i}": i for i in range(1100)}})
    logger.metrics({"auc": 0.8}, step=1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.json").write_text("{}")
    (tmp_path / "two.md").write_text("two")
    logger.files([tmp_path / "folder", tmp_path / "two.md"])
    with pytest.raises(ArtifactError, match=r"three\.md does not exist"):
        logger.files([tmp_path / "three.md"])
    registry.close_run(run_id, "FINISHED")
    run = client().get_run(run_id)
    assert (run.info.run_name, run.info.status, run.data.tags["data"]) == ("named", "FINISHED", "abc")
    assert (run.data.params["train.epochs"], run.data.params["train.hidden"], len(run.data.params["long"])) == ("3", "[8, 4]", 6000)
    assert len(run.data.params) == 153
    assert len(run.data.metrics) == 1101
    assert [(point.step, point.value) for point in client().get_metric_history(run_id, "auc")] == [(0, 0.7), (1, 0.8)]
    assert sorted(path.name for path in artifacts_of(run_id).rglob("*") if path.is_file()) == ["one.json", "two.md"]


def stage(run_ids: list[str], raised: BaseException | None) -> None:
    with registry.stage_run("train", "tests") as logger:
        run_ids.append(logger.run_id)
        logger.metrics({"loss": 0.5})
        if raised:
            raise raised


@pytest.mark.parametrize(("raised", "status"), [(None, "FINISHED"), (ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_stage_on_its_own_has_its_own_run(store: str, raised: BaseException | None, status: str) -> None:
    run_ids: list[str] = []
    with pytest.raises(type(raised)) if raised else contextlib.nullcontext():
        stage(run_ids, raised)
    run = client().get_run(run_ids[0])
    assert (run.info.status, run.info.run_name, run.data.tags["amtl.stage"], run.data.metrics) == (status, "train", "train", {"loss": 0.5})


def test_a_stage_in_a_flow_leaves_the_flow_s_run_open(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = registry.open_run("tests", "flow", {})
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    run_ids: list[str] = []
    stage(run_ids, None)
    with pytest.raises(ValueError, match="failed"):
        stage(run_ids, ValueError("failed"))
    run = client().get_run(run_id)
    assert (run.info.status, run.data.metrics, run.data.params, run_ids) == ("RUNNING", {"loss": 0.5}, {}, [run_id, run_id])
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(RegistryError, match="not found"):
        stage(run_ids, None)


def test_artifacts_lie_beside_the_database_or_where_the_environment_says(
    store: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Path(store.removeprefix("sqlite:///")).parent / "artifacts"
    run_id = registry.open_run("tests", "beside", {})
    assert client().get_run(run_id).info.artifact_uri == f"{beside.as_uri()}/{run_id}/artifacts"
    monkeypatch.setenv("AMTL_ARTIFACT_ROOT", str(tmp_path / "my artifacts"))
    run_id = registry.open_run(name, "elsewhere", {})
    assert client().get_run(run_id).info.artifact_uri == f"{(tmp_path / 'my artifacts').as_uri()}/{run_id}/artifacts"


def test_a_verdict_is_tagged(made: Callable[..., Any], name: str) -> None:
    one = made(1)
    registry.set_verdict(registry.register(name, one.bundle, one.state, one.run_id, {}), "HOLD", ("a tie", "no smaller"))
    tags = registry.get(name, 1).tags
    assert (tags["amtl.verdict"], tags["amtl.reasons"]) == ("HOLD", "a tie\nno smaller")


def test_mlflow_s_own_errors_become_one_line(store: str) -> None:
    with pytest.raises(AmtlError) as caught:
        registry.RunLogger("0" * 32).metrics({"loss": 0.5})
    assert "\n" not in str(caught.value)
