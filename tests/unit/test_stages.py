"""What `python -m amtl.stages` does around a stage: arguments, errors, the folder for resuming, the check of what was validated."""

import days
import polars as pl
import pytest
import yaml
from toy import COMPRESS, EVENTS, settings

from amtl import files, stages
from amtl.data.vocabulary import LEFT_OUT_SCHEMA
from amtl.errors import ArtifactError, DataError
from amtl.params import parse


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty workspace with settings, as the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("amtl.processes.die_with_parents", lambda: None)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"events": EVENTS, "compress": COMPRESS, "register": {"name": "toy"}}))
    return tmp_path


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train", "search"]])
def test_a_wrong_call_names_the_stages(workspace, capsys, arguments):
    assert stages.main(arguments) == 2
    assert "usage: python -m amtl.stages {validate,count,parent,train,search,compress,evaluate}" in capsys.readouterr().err


@pytest.mark.parametrize("name", stages.STAGES)
def test_a_stage_without_its_inputs_fails_in_one_line(workspace, capsys, name):
    assert stages.main([name]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("amtl: error: ")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "build/x"), OSError(28, "No space left on device"), DataError("bad day")]
)
def test_what_a_stage_meets_outside_is_told_in_one_line(workspace, capsys, monkeypatch, error):
    def stage(given):
        raise error

    monkeypatch.setitem(stages.STAGES, "train", stage)
    assert stages.main(["train"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"amtl: error: {error}"]


def test_settings_that_cannot_be_read_fail_in_one_line(workspace, capsys):
    (workspace / "params.yaml").write_text("train: {epochs: 0}")
    assert stages.main(["train"]) == 1
    assert "amtl: error: params.yaml: " in capsys.readouterr().err


def test_a_stage_runs_with_the_settings_and_holds_the_workspace(workspace, monkeypatch):
    seen = []

    def stage(given):
        seen.append(given.train.epochs)
        assert (workspace / ".amtl.lock").exists()

    monkeypatch.setitem(stages.STAGES, "train", stage)
    assert stages.main(["train"]) == 0
    assert seen == [10]


@pytest.fixture
def inputs(workspace):
    """What the key of a folder for resuming is made from."""
    for path in (stages.VALIDATE / "accepted.json", stages.COUNT / "vocabulary.parquet", stages.PARENT / "parent.json"):
        files.publish_text(path, "{}")
    return workspace


def folder_of(chosen, fail=False):
    try:
        with stages._resumable("train", chosen) as path:
            files.publish_text(path / "checkpoint", "")
            if fail:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert (path / "checkpoint").exists()
    else:
        assert not path.exists()
    return path


def test_checkpoints_stay_after_a_failure_and_go_after_success(inputs):
    assert folder_of(settings(), fail=True) == folder_of(settings())


def test_checkpoints_are_found_again_only_for_the_same_settings_and_inputs(inputs):
    kept = folder_of(settings(), fail=True)
    assert folder_of(settings(train={"epochs": 7}), fail=True) != kept
    for path in (stages.VALIDATE / "accepted.json", stages.COUNT / "vocabulary.parquet", stages.PARENT / "parent.json"):
        files.publish_text(path, "changed")
        assert folder_of(settings(), fail=True) != kept
        files.publish_text(path, "{}")
    assert folder_of(settings(), fail=True) == kept


def test_checkpoints_of_another_start_are_not_found(inputs):
    """On CUDA a stage before this one does not give the same weights twice."""
    made, paths = inputs / "weights", []
    for content in ("one", "two", "one"):
        made.write_text(content)
        paths.append(stages._resumable("compress", settings(), made).path)
    assert paths[0] == paths[2] != paths[1]


def test_events_that_were_not_validated_are_not_used(workspace):
    day = stages.EVENTS / "date=2026-01-01"
    day.mkdir(parents=True)
    (day / "events.parquet").write_bytes(b"one")
    from amtl.data.events import partitions

    accepted = [{"day": part.day, "digest": part.digest, "rows": 1, "quarantined": 0} for part in partitions(stages.EVENTS)]
    files.publish_json(stages.VALIDATE / "accepted.json", {"partitions": accepted, "skipped": [], "soundness": ""})
    assert [part.day for part in stages._accepted(settings().events)] == ["2026-01-01"]
    (day / "events.parquet").write_bytes(b"two")
    with pytest.raises(DataError, match="dvc repro validate"):
        stages._accepted(settings().events)


@pytest.mark.parametrize(
    "manifest", [{"lineage": {}}, {"events": {"name": "toy", "colour": 1}, "lineage": {}}, {"events": EVENTS, "lineage": 1}], ids=str
)
def test_a_bundle_that_does_not_say_its_events_is_no_artifact(workspace, manifest):
    files.publish_json(workspace / "bundle" / files.MANIFEST, manifest)
    with pytest.raises(ArtifactError, match="does not say which events it was made under"):
        stages.champion_metrics(settings(), workspace / "bundle")


def test_skipped_days_are_not_used_and_must_be_what_was_skipped(workspace):
    for number in (1, 2):
        day = stages.EVENTS / f"date=2026-01-0{number}"
        day.mkdir(parents=True)
        (day / "events.parquet").write_bytes(b"content %d" % number)
    from amtl.data.events import partitions

    used, skipped = ({"day": part.day, "digest": part.digest} for part in partitions(stages.EVENTS))
    files.publish_json(stages.VALIDATE / "accepted.json", {"partitions": [used], "skipped": [skipped], "soundness": ""})
    assert [part.day for part in stages._accepted(settings().events)] == ["2026-01-01"]
    (stages.EVENTS / "date=2026-01-02" / "events.parquet").write_bytes(b"mended")
    with pytest.raises(DataError, match="dvc repro validate"):
        stages._accepted(settings().events)


def test_days_that_another_version_of_amtl_accepted_are_to_be_validated_again(workspace):
    day = stages.EVENTS / "date=2026-01-01"
    day.mkdir(parents=True)
    (day / "events.parquet").write_bytes(b"content")
    from amtl.data.events import partitions

    accepted = [{"day": part.day, "digest": part.digest, "rows": 1} for part in partitions(stages.EVENTS)]
    files.publish_json(stages.VALIDATE / "accepted.json", {"partitions": accepted})
    with pytest.raises(ArtifactError, match=r"another version of amtl; run: dvc repro validate"):
        stages._accepted(settings().events)


def test_only_days_without_any_row_in_quarantine_need_no_second_look(workspace):
    for number in (1, 2):
        day = stages.EVENTS / f"date=2026-01-0{number}"
        day.mkdir(parents=True)
        (day / "events.parquet").write_bytes(b"content %d" % number)
    from amtl.data.events import partitions, soundness

    events = settings().events
    clean, dirty = ({"day": part.day, "digest": part.digest, "rows": 1} for part in partitions(stages.EVENTS))
    judged = {"partitions": [clean | {"quarantined": 0}, dirty | {"quarantined": 1}], "skipped": []}
    for rules, sound in ((files.digest_of(soundness(events)), [True, False]), ("other rules", [False, False])):
        files.publish_json(stages.VALIDATE / "accepted.json", judged | {"soundness": rules})
        assert [part.sound for part in stages._accepted(events)] == sound


def test_counting_lists_what_has_no_row_and_totals_it_by_field(workspace, monkeypatch):
    parts = days.days(stages.EVENTS, 5)
    monkeypatch.setattr(stages, "_accepted", lambda *_: parts)
    files.publish_json(stages.PARENT / "parent.json", {"parent": "none"})
    declared = days.events().model_dump(mode="json")
    stages.count(parse({"events": declared, "count": {"max_rows": {"user": 3}}, "register": {"name": "days"}}))
    left_out = pl.read_parquet(stages.COUNT / "left_out.parquet")
    assert left_out.schema == LEFT_OUT_SCHEMA
    assert set(left_out["field"]) == {"user"}
    report = files.read_json(stages.COUNT / "report.json")
    assert report["fields"]["user"] == {"values": 3, "new": 3, "dropped": 0, "left_out": {"min_count": 0, "max_rows": len(left_out)}}
    assert pl.read_parquet(stages.COUNT / "vocabulary.parquet").filter(pl.col("field") == "user").height == 4


def test_a_changed_budget_runs_neither_training_nor_search_again(request):
    """By dvc.yaml: who reads the budget, and who reads what only compressing makes."""
    graph = yaml.safe_load((request.config.rootpath / "dvc.yaml").read_text())["stages"]
    for key in ("compress.budget", "compress.precision", "compress.tolerance"):
        readers = {name for name, stage in graph.items() for read in stage.get("params", []) if f"{key}.".startswith(f"{read}.")}
        assert readers == {"compress", "evaluate"}
    assert {name for name, stage in graph.items() if "build/compress" in stage["deps"]} == {"evaluate"}
    assert "compress.finetune" in graph["search"]["params"]  # the control gets the same fine-tuning
