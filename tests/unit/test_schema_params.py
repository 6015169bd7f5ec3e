"""The rules of docs/schema.md for a changed declaration (P1, P2, ...): what is rebuilt, and what a warm start carries.

Each case changes the settings of a workspace whose parent was made under the old ones, then counts and trains.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from days import FIELDS, SPLIT, frame

from amtl import files, params, stages
from amtl.data.events import partitions
from amtl.errors import DataError
from amtl.validation import verdicts
from amtl.validation.suite import Suite

DAYS, ROWS = 4, 50
PAGE = Path(__file__).parents[2] / "docs" / "schema.md"
JUDGED = dict(re.findall(r"^\| (P\d+) \|[^|]*\| ([^|]*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
"""Whether days are judged again, by rule, as the page says it."""
SETTINGS: dict[str, Any] = {
    "events": {"name": "days", "label": "click", "time": "at", "split": SPLIT, "fields": FIELDS},
    "train": {"dim": 4, "hidden": [6, 5], "batch_size": 64, "epochs": 1, "device": "cpu"},
    "search": {"hidden": [4], "steps": 5, "ladder": [0.5], "rows": 100},
    "compress": {"budget": 0.9, "finetune": {"epochs": 1}},
    "register": {"name": "days"},
}
EVERYTHING = ["user", "item", "tags"]


def identity(rows: pl.DataFrame) -> pl.DataFrame:
    return rows


@dataclass(frozen=True)
class Case:
    """A rule's example.

    Attributes:
        rule: its name in docs/schema.md.
        sections: entries that replace those of the old settings.
        backbone: how the report on the backbone begins; None: the parent is not used.
        carried: embedded fields whose rows are carried.
        recounted: whether days must be counted again.
        unfit: part of the reason why the parent is not used.
        data: what becomes of every day's rows.
    """

    rule: str
    what: str
    sections: dict[str, dict[str, Any]]
    backbone: str | None = "carried in part"
    carried: list[str] | None = None
    recounted: bool = True
    unfit: str | None = None
    data: Callable[[pl.DataFrame], pl.DataFrame] = identity

    def __str__(self) -> str:
        return f"{self.rule} {self.what}"


def changed(name: str, **entries: Any) -> dict[str, dict[str, Any]]:
    """The events section with a field changed."""
    return {"events": {"fields": [field | entries if field["name"] == name else field for field in FIELDS]}}


def fields(*chosen: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"events": {"fields": list(chosen)}}


USER, ITEM, TAGS, PRICE = FIELDS
DEVICE = {"name": "device"}

CASES = [
    Case("P1", "a field is added", fields(USER, ITEM, DEVICE, TAGS, PRICE), carried=EVERYTHING),
    Case("P1", "a number is added", fields(USER, ITEM, TAGS, PRICE, {"name": "height", "kind": "number"}), carried=EVERYTHING),
    Case("P2", "a field is removed", fields(USER, TAGS, PRICE), carried=["user", "tags"]),
    Case("P2", "a number is removed", fields(USER, ITEM, TAGS), carried=EVERYTHING),
    Case("P3", "a field is renamed", fields(USER, DEVICE, TAGS, PRICE), carried=["user", "tags"]),
    Case(
        "P4",
        "a field becomes a list",
        changed("item", kind="ids"),
        "carried",
        EVERYTHING,
        data=lambda rows: rows.with_columns(pl.concat_list("item")),
    ),
    Case("P5", "an id becomes a number", changed("user", kind="number", type="string"), carried=["item", "tags"]),
    Case(
        "P6",
        "integers become text",
        changed("user", type="string"),
        carried=["item", "tags"],
        data=lambda rows: rows.cast({"user": pl.String}),
    ),
    Case(
        "P6",
        "text becomes integers",
        changed("item", type="integer"),
        carried=["user", "tags"],
        data=lambda rows: rows.with_columns(pl.col("item").str.slice(5).cast(pl.Int64)),
    ),
    Case("P7", "a field is no longer optional", changed("item", optional=False), "carried", EVERYTHING, recounted=False),
    Case("P8", "a wider range", changed("price", range=[0, 200]), "carried", EVERYTHING),
    Case("P9", "another label", {"events": {"label": "like"}}, None, unfit="it predicts click, and today's label is like"),
    Case("P10", "another time column", {"events": {"time": "sent"}}, None, unfit="another column"),
    Case("P11", "another kind of split", {"events": {"split": {"kind": "random"}}}, None, unfit="another kind of split"),
    Case("P11", "test begins earlier", {"events": {"split": SPLIT | {"test": 0.5}}}, None, unfit="test begins at", recounted=False),
    Case("P12", "another width", {"train": {"dim": 6}}, "fresh: the width changed from 4 to 6", [], recounted=False),
    Case(
        "P13",
        "another backbone",
        {"train": {"backbone": "dlrm"}},
        "fresh: the backbone changed from mlp to dlrm",
        EVERYTHING,
        recounted=False,
    ),
    Case("P14", "another last layer", {"train": {"hidden": [6, 4]}}, "carried in part: 1 of 3 layers", EVERYTHING, recounted=False),
    Case("P14", "another first layer", {"train": {"hidden": [5, 5]}}, "fresh: no field or no layer is shared", EVERYTHING, recounted=False),
    Case("P15", "other dropout", {"train": {"dropout": 0.1}}, "carried", EVERYTHING, recounted=False),
    Case("P16", "another registered model", {"register": {"name": "other"}}, "carried", EVERYTHING, recounted=False),
    Case("P17", "another order of fields", fields(PRICE, TAGS, ITEM, USER), "carried", EVERYTHING, recounted=False),
]


class Workspace:
    """A folder with days, as the current one; stages run without MLflow and Great Expectations."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def deliver(self, data: Callable[[pl.DataFrame], pl.DataFrame] = identity, number: int = DAYS) -> None:
        """Write the days, and accept them."""
        for day in range(number):
            path = self.root / stages.EVENTS / f"date=2026-01-{day + 1:02d}" / "events.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            data(rows_of(day)).write_parquet(path)
        accepted = [
            {"day": part.day, "digest": part.digest, "rows": ROWS, "quarantined": 0} for part in partitions(self.root / stages.EVENTS)
        ]
        files.publish_json(self.root / stages.VALIDATE / "accepted.json", {"partitions": accepted, "skipped": [], "soundness": ""})
        files.publish_json(self.root / stages.VALIDATE / "report.json", {})

    def run(self, settings: params.Params, *names: str) -> None:
        for name in names:
            stages.STAGES[name](settings)

    def adopt(self, version: int) -> None:
        """Make what lies in the workspace the parent, as a pin of a registered version does."""
        for source in (stages.STATE, stages.BUNDLE):
            shutil.rmtree(stages.PARENT / source.name, ignore_errors=True)
            shutil.copytree(source, stages.PARENT / source.name)
        files.publish_json(stages.PARENT / "parent.json", {"name": "days", "version": version, "digest": "0" * 64})

    def version(self, settings: params.Params) -> Any:
        """All stages after validation; returns the metrics."""
        self.run(settings, "count", "train", "search", "compress", "evaluate")
        return files.read_json(stages.METRICS)

    def report(self, path: Path) -> Any:
        return files.read_json(self.root / path / "report.json")


def rows_of(day: int) -> pl.DataFrame:
    """A day with columns that no one declares yet."""
    return frame(ROWS, day).with_columns(device=pl.col("item"), height=pl.col("price"), like=1 - pl.col("click"), sent=pl.col("at"))


def with_sections(sections: dict[str, dict[str, Any]]) -> params.Params:
    return params.parse({name: {**SETTINGS.get(name, {}), **sections.get(name, {})} for name in {**SETTINGS, **sections}})


@contextlib.contextmanager
def nowhere(*_: Any):
    """A run that logs nothing."""

    class Silent:
        def metrics(self, *_: Any, **__: Any) -> None: ...
        def files(self, *_: Any) -> None: ...

    yield Silent()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with a parent made under the old settings."""
    root = tmp_path_factory.mktemp("schema") / "made"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("amtl.release.registry.stage_run", nowhere)
        workspace = Workspace(root)
        workspace.deliver()
        files.publish_json(stages.PARENT / "parent.json", {"parent": "none"})
        workspace.run(with_sections({}), "count", "train", "search", "compress")
        workspace.adopt(1)
        yield root


@pytest.fixture
def workspace(made, tmp_path, monkeypatch):
    """A copy of it in which models stay as they begin: what is carried is decided before the first step."""
    monkeypatch.setattr("amtl.training.loop.Trainer.fit", lambda trainer, *_: trainer.progress)
    monkeypatch.setattr("amtl.release.evaluate.logistic_baseline", lambda train, test, rows: test.labels.numpy())
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    root = tmp_path / "workspace"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return Workspace(root)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_changed_declaration_goes_by_its_rule(workspace, case):
    if case.data is not identity:
        workspace.deliver(case.data)
    settings = with_sections(case.sections)
    workspace.run(settings, "count", "train")
    counted, trained = workspace.report(stages.COUNT), workspace.report(stages.TRAIN)
    assert bool(counted["counted"]) == case.recounted
    warm_start = trained["warm_start"]
    if case.unfit:
        assert warm_start["parent"] == "none"
        assert case.unfit in trained["unfit_parent"]
    else:
        assert warm_start["backbone"].startswith(str(case.backbone))
        assert (warm_start["backbone"] == "carried") == (case.backbone == "carried")
        carried = {name for name, tally in warm_start["fields"].items() if tally["carried"]}
        assert carried == set(case.carried or [])


def test_a_chain_of_versions_over_which_fields_come_and_go(workspace):
    """1 -> a field more -> 2 -> one less, its column turned into something else -> 3 -> back to 1, under today's fields."""
    more, less = fields(USER, ITEM, DEVICE, TAGS, PRICE), fields(USER, DEVICE, TAGS, PRICE)
    lists = {"data": lambda rows: rows.with_columns(item=pl.concat_list("item")), "number": DAYS + 2}
    steps = [(more, {"number": DAYS + 1}, 2), (less, lists, 3)]
    shutil.copytree(stages.PARENT, "first")
    for sections, delivery, version in steps:
        workspace.deliver(**delivery)
        metrics = workspace.version(with_sections(sections))
        assert "auc_parent" in metrics, f"version {version} is not compared with its parent"
        workspace.adopt(version)
    dropped = workspace.report(stages.TRAIN)["warm_start"]["fields"]["item"]
    assert dropped == {"carried": 0, "new": 0, "dropped": dropped["dropped"], "rows": 0}
    assert dropped["dropped"] > 0

    shutil.rmtree(stages.PARENT)
    shutil.copytree("first", stages.PARENT)
    metrics = workspace.version(with_sections(less))
    assert "auc_parent" in metrics
    warm_start = workspace.report(stages.TRAIN)["warm_start"]
    assert warm_start["backbone"].startswith("carried in part")
    assert warm_start["fields"]["user"]["carried"] > 1
    assert warm_start["fields"]["device"]["carried"] == 0


def test_a_parent_that_cannot_read_today_s_rows_is_not_compared(workspace):
    """It is still what training starts from."""
    workspace.deliver(lambda rows: rows.with_columns(pl.concat_list("item")))
    settings = with_sections(changed("item", kind="ids"))
    assert "auc_parent" not in workspace.version(settings)
    assert workspace.report(stages.TRAIN)["warm_start"]["backbone"] == "carried"
    reason = stages.why_not_comparable(settings, stages.PARENT / "bundle")
    assert reason == "it reads item as single values, and today's rows hold lists"
    with pytest.raises(DataError, match=r"cannot be scored on today's test rows: .* amtl promote VERSION --force"):
        stages.champion_metrics(settings, stages.PARENT / "bundle")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_days_are_judged_again_where_the_page_says_so(made, case):
    """A verdict is kept under a key of all that it depends on."""
    old, new = with_sections({}), with_sections(case.sections)
    part = partitions(made / stages.EVENTS)[0]
    keys = {verdicts.key(part, Suite(), settings.events, settings.validate_) for settings in (old, new)}
    assert (len(keys) == 2) == JUDGED[case.rule].startswith("again")


def test_every_rule_has_a_case():
    assert list(JUDGED) == [f"P{number}" for number in range(1, len(JUDGED) + 1)]
    assert set(JUDGED) == {case.rule for case in CASES}
