from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amtl.errors import ArtifactError, RegistryError
from amtl.release import registry

WRITES = (
    "create_model_version",
    "create_registered_model",
    "delete_model_version_tag",
    "delete_registered_model_alias",
    "log_artifacts",
    "set_model_version_tag",
    "set_registered_model_alias",
    "set_registered_model_tag",
)


class KilledError(BaseException):
    """The process died."""


def killed_at(write: int, action: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether `action` died: it does before the given write to MLflow (from 0), if it gets there."""
    from mlflow import MlflowClient

    done = 0

    def deadly(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            if done == write:
                raise KilledError
            done += 1
            return original(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        for method in WRITES:
            patch.setattr(MlflowClient, method, deadly(getattr(MlflowClient, method)))
        try:
            action()
        except KilledError:
            return True
    return False


def champion_of(name: str) -> int | None:
    version = registry.champion(name)
    return version.number if version else None


def test_three_promotions_back_twice_forward_once(registered: Callable[[int], str]) -> None:
    name = registered(3)
    for number, expected in ((1, None), (2, 1), (3, 2)):
        assert registry.promote(name, number, expected, f"by {number}", f"why {number}").aliases == ("champion",)
    assert registry.rollback(name, "me", "bad").number == 2
    assert registry.rollback(name, "me", "worse").number == 1
    with pytest.raises(RegistryError, match="no champion before it"):
        registry.rollback(name, "me", "worst")
    registry.promote(name, 3, 1, "me", "was right")
    tenures = registry.ledger(name)
    assert [(tenure.version, tenure.by, tenure.reason, tenure.action) for tenure in tenures] == [
        (1, "by 1", "why 1", "promote"),
        (2, "by 2", "why 2", "promote"),
        (3, "by 3", "why 3", "promote"),
        (2, "me", "bad", "rollback"),
        (1, "me", "worse", "rollback"),
        (3, "me", "was right", "promote"),
    ]
    assert [tenure.until for tenure in tenures] == [tenure.since for tenure in tenures[1:]] + [None]
    tags = {number: registry.get(name, number).tags for number in (1, 2, 3)}
    assert (tags[3]["amtl.promoted_by"], tags[3]["amtl.replaced"], tags[3]["amtl.reason"]) == ("me", "1", "was right")
    assert "amtl.retired_at" not in tags[3]
    assert tags[1]["amtl.retired_at"] == tenures[-1].since
    assert tags[2]["amtl.rolled_back_reason"] == "worse"


def test_a_champion_moved_by_another_is_not_overwritten(registered: Callable[[int], str]) -> None:
    name = registered(3)
    registry.promote(name, 1, None, "test", "first")
    registry.promote(name, 2, 1, "test", "another flow")
    for expected in (None, 1):
        with pytest.raises(RegistryError, match="is version 2, not"):
            registry.promote(name, 3, expected, "test", "judged against an old champion")
    assert champion_of(name) == 2
    assert len(registry.ledger(name)) == 2


def test_an_alias_moved_between_our_write_and_our_look_is_told(registered: Callable[[int], str], monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    name = registered(2)
    move = MlflowClient.set_registered_model_alias
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", lambda client, model, alias, number: move(client, model, alias, "2"))
        with pytest.raises(RegistryError, match="is version 2, not version 1 as expected"):
            registry.promote(name, 1, None, "test", "first")
    assert [(tenure.version, tenure.action) for tenure in registry.ledger(name)] == [(2, "outside")]


def test_promoting_the_champion_changes_nothing(registered: Callable[[int], str]) -> None:
    name = registered(1)
    first = registry.promote(name, 1, None, "test", "first")
    assert registry.promote(name, 1, 1, "other", "again") == first
    assert len(registry.ledger(name)) == 1


def test_promotion_of_no_version_is_refused(registered: Callable[[int], str]) -> None:
    name = registered(1)
    with pytest.raises(RegistryError, match="no version 5"):
        registry.promote(name, 5, None, "test", "why")
    assert champion_of(name) is None


def test_what_was_rolled_back_from_returns_by_hand_only(registered: Callable[[int], str]) -> None:
    name = registered(2)
    registry.promote(name, 1, None, "test", "first")
    registry.promote(name, 2, 1, "test", "second", automatic=True)
    registry.rollback(name, "me", "it was bad")
    with pytest.raises(RegistryError, match="was rolled back from"):
        registry.promote(name, 2, 1, "retrain", "a gain", automatic=True)
    assert champion_of(name) == 1
    registry.promote(name, 2, 1, "me", "it was right")
    assert champion_of(name) == 2


def test_rollback_to_a_version_by_number(registered: Callable[[int], str]) -> None:
    name = registered(3)
    for number, expected in ((1, None), (2, 1), (3, 2)):
        registry.promote(name, number, expected, "test", "why")
    assert registry.rollback(name, "me", "far back", to=1).number == 1
    with pytest.raises(RegistryError, match="no champion before it"):
        registry.rollback(name, "me", "the same", to=1)


def test_a_rollback_target_that_is_gone_or_damaged_leaves_the_pointer(made: Callable[..., Any], name: str) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    for seed in (1, 2, 3):
        one = made(seed)
        registry.register(name, one.bundle, one.state, one.run_id, {})
    for number, expected in ((1, None), (2, 1), (3, 2)):
        registry.promote(name, number, expected, "test", "why")
    run_id = registry.get(name, 1).run_id
    with (Path(download_artifacts(run_id=run_id, artifact_path="")) / "model/artifacts/bundle/model.safetensors").open("ab") as file:
        file.write(b"x")
    MlflowClient().delete_model_version(name, "2")
    with pytest.raises(RegistryError, match="no version 2"):
        registry.rollback(name, "me", "bad")
    with pytest.raises(ArtifactError, match="damaged"):
        registry.rollback(name, "me", "bad", to=1)
    assert champion_of(name) == 3
    assert "amtl.rolled_back_at" not in registry.get(name, 3).tags
    assert len(registry.ledger(name)) == 3


def test_a_rollback_without_a_champion_is_refused(registered: Callable[[int], str]) -> None:
    with pytest.raises(RegistryError, match="no champion to roll back from"):
        registry.rollback(registered(1), "me", "bad")


def test_a_deleted_champion_does_not_block_the_next(registered: Callable[[int], str]) -> None:
    from mlflow import MlflowClient

    name = registered(2)
    registry.promote(name, 1, None, "test", "first")
    MlflowClient().delete_model_version(name, "1")
    assert champion_of(name) is None
    registry.promote(name, 2, None, "test", "second")
    assert [(tenure.version, tenure.until is None) for tenure in registry.ledger(name)] == [(1, False), (2, True)]


def test_registration_killed_at_every_write_ends_in_one_version(
    made: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for write in range(100):
        model, one = f"{name}-{write}", made(1)
        register = partial(registry.register, model, one.bundle, one.state, one.run_id, {})
        if not killed_at(write, register, monkeypatch):
            break
        for version in registry.versions(model):
            registry.fetch(model, version.number, "bundle", tmp_path / "bundle")
            registry.fetch(model, version.number, "state", tmp_path / "state")
        assert register().aliases == ("challenger",)
        assert [version.number for version in registry.versions(model)] == [1]
        registry.smoke_test(model, 1)
    assert write == 5


def test_promotion_killed_at_every_write_keeps_alias_and_ledger_in_step(
    registered: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registered(2)
    registry.promote(name, 1, None, "test", "why")
    old, new = 1, 2
    for write in range(100):
        promote = partial(registry.promote, name, new, old, "test", f"write {write}")
        if not killed_at(write, promote, monkeypatch):
            break
        assert champion_of(name) in (old, new)
        assert registry.ledger(name)[-1].version == champion_of(name)
        promote()
        assert champion_of(name) == new
        tags = {number: registry.get(name, number).tags for number in (1, 2)}
        assert tags[old]["amtl.retired_at"] == tags[new]["amtl.promoted_at"]
        assert "amtl.retired_at" not in tags[new]
        old, new = new, old
    assert write >= 8
    tenures = registry.ledger(name)
    assert [tenure.version for tenure in tenures] == [1 + number % 2 for number in range(write + 2)]
    assert [tenure.reason for tenure in tenures[1:]] == [f"write {number}" for number in range(write + 1)]


def test_rollback_killed_at_every_write_never_lets_the_bad_version_return(
    registered: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registered(2)
    registry.promote(name, 1, None, "test", "why")
    for write in range(100):
        registry.promote(name, 2, 1, "me", "by hand")
        back = partial(registry.rollback, name, "me", "bad")
        if not killed_at(write, back, monkeypatch):
            break
        assert registry.ledger(name)[-1].version == champion_of(name)
        if champion_of(name) == 2:
            back()
        assert champion_of(name) == 1
        with pytest.raises(RegistryError, match="was rolled back from"):
            registry.promote(name, 2, 1, "retrain", "a gain", automatic=True)
    assert write >= 8
    assert [tenure.version for tenure in registry.ledger(name)] == [1] + [2, 1] * (write + 1)
