"""The flow on a real small workspace, from the first run to the nightly deployment. The tests follow one another and share its state."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from amtl import environment, files, params
from amtl.errors import ArtifactError
from amtl.release import registry
from flows import dvc_repo

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")]
DEADLINE_SECONDS = 90
STAGES = ["validate", "parent", "count", "train", "search", "compress", "evaluate"]


def is_clean(root):
    """Whether `dvc status` has nothing to say."""
    return dvc_repo.ask(root, lambda repo: repo.status()) == {}


def read(workspace, path):
    return json.loads((workspace.root / path).read_text())


def test_the_first_run_ends_with_a_champion(workspace, first):
    assert first.code == 0, first.err
    assert "Traceback" not in first.err
    assert first.out.startswith("version 1 of sample: PROMOTE\n")
    (version,) = workspace.versions()
    assert version.aliases == ("champion",)
    assert version.tags["amtl.verdict"] == "PROMOTE"
    assert version.tags["amtl.data"] == yaml.safe_load((workspace.root / "data.dvc").read_text())["outs"][0]["md5"]
    assert version.tags["amtl.dvc_lock"] == files.sha256(workspace.root / "dvc.lock")
    assert version.tags["amtl.parent"] == "none"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", version.tags["amtl.code"])
    report = (workspace.root / "build" / "report.html").read_text()
    assert "PROMOTE" in report
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", report), "the report needs nothing from elsewhere"


def test_the_first_run_is_one_finished_mlflow_run_with_its_report(workspace, first):
    from mlflow import MlflowClient

    (run,) = workspace.mlflow_runs()
    assert run.info.status == "FINISHED"
    assert run.data.params["train.dim"] == "8"
    assert run.data.metrics["auc"] == read(workspace, "build/evaluate/metrics.json")["auc"]
    logged = {entry.path for entry in MlflowClient().list_artifacts(run.info.run_id)}
    assert {"report.html", "dvc.lock", "data.dvc", "parent.lock", "params.yaml"} <= logged


def test_dvc_has_nothing_to_do_after_the_promotion(workspace, first):
    assert is_clean(workspace.root)


def test_the_flow_commits_nothing(workspace, first):
    log = subprocess.run(["git", "log", "--oneline"], cwd=workspace.root, capture_output=True, text=True, check=True)
    assert len(log.stdout.splitlines()) == 1


def test_the_same_again_is_no_run_and_no_version(workspace, first):
    again = workspace.amtl("retrain")
    assert again.code == 0, again.err
    assert again.ran == []
    assert again.out.startswith("nothing new to register: version 1 of sample: PROMOTE\n")
    assert len(workspace.versions()) == len(workspace.mlflow_runs()) == 1


def test_a_lost_record_is_made_good_without_a_run(workspace, first):
    """As after a crash between registration and report."""
    (workspace.root / "build" / "release.json").unlink()
    again = workspace.amtl("retrain")
    assert again.code == 0, again.err
    assert again.ran == []
    assert len(workspace.versions()) == len(workspace.mlflow_runs()) == 1
    assert (workspace.root / "build" / "release.json").exists()


def test_another_budget_reruns_compress_and_evaluate_only(workspace, first):
    workspace.change(compress={"budget": "30%"})
    changed = workspace.amtl("retrain")
    assert changed.code == 0, changed.err
    assert changed.ran == ["compress", "evaluate"]
    assert len(workspace.versions()) == 2
    assert is_clean(workspace.root)
    table = workspace.root / "build" / "compress" / "bundle" / "table.safetensors"
    assert table.stat().st_size <= 0.3 * read(workspace, "build/evaluate/metrics.json")["dense_bytes"]


def test_a_comparison_leaves_a_report_a_table_and_a_run_and_goes_on_where_it_was(workspace, first):
    asked = ("compare", "--quick", "--methods", "fixed,rule", "--budgets", "30%", "--out", "build/side-by-side")
    done = workspace.amtl(*asked)
    assert done.code == 0, done.err
    assert "Quick: too few rows" in done.out
    folder = workspace.root / "build" / "side-by-side"
    assert set(pl.read_csv(folder / "results.csv")["method"]) == {"base", "control", "logistic", "fixed", "rule"}
    assert "<svg" in (folder / "report.html").read_text()
    run = workspace.mlflow_runs()[0]
    assert run.info.status == "FINISHED"
    assert {"rule/30pct/auc", "fixed/30pct/bytes", "logistic/auc"} <= set(run.data.metrics)
    assert is_clean(workspace.root)
    assert "5 of 5 runs are finished already" in workspace.amtl(*asked).out


def test_the_next_day_is_the_only_one_looked_at_and_training_starts_from_the_champion(workspace, first):
    champion = registry.champion("sample")
    workspace.change(compress={"budget": "20%"})  # a smaller table is promoted, whatever another day does to so small a model
    assert workspace.amtl("sample", "--next-day").code == 0
    arrived = workspace.amtl("retrain")
    assert arrived.code == 0, arrived.err
    assert arrived.ran == STAGES
    day = "2026-01-07"
    assert any("validated 1 days, 6 were validated before" in line for line in arrived.log)
    counted = read(workspace, "build/count/report.json")
    assert day in counted["counted"] or day in counted["boundary"]
    assert len(counted["reused"]) >= 4
    pinned = yaml.safe_load((workspace.root / "parent.lock").read_text())
    assert pinned["parent"]["version"] == champion.number
    assert pinned["data"] == yaml.safe_load((workspace.root / "data.dvc").read_text())["outs"][0]["md5"]
    assert len(workspace.versions()) == 3
    assert workspace.versions()[-1].tags["amtl.verdict"] == "PROMOTE"
    assert workspace.versions()[-1].tags["amtl.parent"] == f"sample version {champion.number}"
    assert is_clean(workspace.root)


def test_the_warm_start_adds_up(workspace, first):
    fields = read(workspace, "build/train/report.json")["warm_start"]["fields"]
    assert set(fields) == {"user_id", "item_id", "category", "segment", "device", "hour", "tags"}
    for field, found in fields.items():
        assert found["carried"] + found["new"] == found["rows"], field
        assert found["carried"] > 0, field
        assert found["dropped"] == 0, field
    assert fields["user_id"]["new"] > 0


def bad_day(**columns):
    """A function that changes a good day's frame."""
    return lambda frame: frame.with_columns(**columns)


REFUSED = {
    "empty day": (lambda frame: frame.head(0), "2026-01-08"),
    "all null": (bad_day(item_id=pl.lit(None, pl.String)), "item_id"),
    "label of 2": (bad_day(click=pl.lit(2)), "click"),
}


def made(root):
    """What the stages after validation have made: file to when it was last written."""
    stages = [stage for stage in STAGES if stage != "validate"]
    return {path: path.stat().st_mtime_ns for stage in stages for path in (root / "build" / stage).rglob("*") if path.is_file()}


@pytest.mark.parametrize(("spoil", "named"), REFUSED.values(), ids=REFUSED)
def test_a_bad_day_is_refused_in_one_line_and_leaves_no_trace(workspace, first, spoil, named):
    events = workspace.root / "data" / "events"
    good = pl.read_parquet(events / "date=2026-01-07")
    lock = (workspace.root / "parent.lock").read_text()
    before = len(workspace.versions()), len(workspace.mlflow_runs())
    champion, built = registry.champion("sample").number, made(workspace.root)
    (events / "date=2026-01-08").mkdir()
    spoil(good).write_parquet(events / "date=2026-01-08" / "events.parquet")
    refused = workspace.amtl("retrain")
    shutil.rmtree(events / "date=2026-01-08")
    assert refused.code == 1
    assert refused.err.splitlines()[-1].startswith("amtl: error: ")
    assert named in refused.err.splitlines()[-1]
    assert "2026-01-08" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err + "".join(refused.log)
    assert refused.ran == ["validate"], "refused once, not tried again"
    assert len(workspace.versions()) == before[0]
    assert [run.info.status for run in workspace.mlflow_runs()[: len(workspace.mlflow_runs()) - before[1]]] == ["FAILED"]
    assert (workspace.root / "parent.lock").read_text() == lock
    assert registry.champion("sample").number == champion
    assert made(workspace.root) == built, "nothing was trained from it"


def test_after_the_bad_day_is_gone_nothing_has_to_run_but_validation(workspace, first):
    again = workspace.amtl("retrain")
    assert again.code == 0, again.err
    assert set(again.ran) <= {"validate"}
    assert len(workspace.versions()) == 3


def test_a_misspelled_key_is_named_before_anything_runs(workspace, first):
    path = workspace.root / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("epochs: 2", "epoch: 2"))
    runs = len(workspace.mlflow_runs())
    refused = workspace.amtl("retrain")
    path.write_text(text)
    assert refused.code == 1
    assert refused.err.startswith("amtl: error: ")
    assert "train.epoch is not a known key; did you mean epochs?" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert len(workspace.mlflow_runs()) == runs


def test_a_flipped_byte_in_a_bundle_is_refused_by_all_who_read_it(workspace, first):
    import amtl

    bundle = workspace.root / "damaged"
    shutil.copytree(workspace.root / "build" / "compress" / "bundle", bundle)
    table = bundle / "table.safetensors"
    content = bytearray(table.read_bytes())
    content[-1] ^= 1
    table.chmod(0o644)
    table.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"table\.safetensors"):
        amtl.load(bundle)
    refused = workspace.amtl("inspect", str(bundle))
    assert refused.code == 1
    assert re.fullmatch(r"amtl: error: .*table\.safetensors.*\n", refused.err)
    shutil.rmtree(bundle)


def test_a_flipped_byte_in_the_registry_stops_a_rollback(workspace, first):
    champion = registry.champion("sample")
    target = workspace.versions()[0]
    path = next((workspace.root / ".mlflow" / "artifacts").rglob(f"{target.run_id}/**/table.safetensors"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused = workspace.amtl("rollback", "1", "--why", "test")
    path.write_bytes(content)
    assert refused.code == 1
    assert refused.err.startswith("amtl: error: ")
    assert registry.champion("sample").number == champion.number


def test_rollback_and_promotion_by_hand(workspace, first):
    number = registry.champion("sample").number
    back = workspace.amtl("rollback", "--why", "test")
    assert back.code == 0, back.err
    assert registry.champion("sample").number != number
    stands = workspace.amtl("retrain")
    assert "rolled back from" in stands.out
    assert registry.champion("sample").number != number, "no retraining brings it back"
    forth = workspace.amtl("promote", str(number), "--force", "--why", "it was not the model")
    assert forth.code == 0, forth.err
    assert registry.champion("sample").number == number
    assert registry.ledger("sample")[-1].reason == "it was not the model"


def test_a_second_run_is_refused_at_once(workspace, first):
    hold = "import pathlib, sys; from amtl import files\nwith files.workspace_lock(pathlib.Path.cwd()): print(1, flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", hold], cwd=workspace.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"1\n"
    refused = workspace.amtl("retrain")
    holder.stdin.close()
    holder.wait()
    assert refused.code == 1
    assert f"pid {holder.pid}" in refused.err.splitlines()[-1]
    assert refused.ran == []


def test_status_shows_it_all_on_one_screen(workspace, first):
    shown = workspace.amtl("status")
    assert shown.code == 0, shown.err
    assert "7 days (2026-01-01 to 2026-01-07), 3,500 events" in shown.out
    assert "stages      up to date" in shown.out
    assert "champion    version 3: AUC" in shown.out
    assert len(shown.out.splitlines()) <= 24


def test_the_parent_can_be_pinned_by_hand(workspace, first):
    lock = (workspace.root / "parent.lock").read_text()
    assert workspace.amtl("parent", "1").out == "parent.lock pins version 1 of sample\n"
    assert dvc_repo.changed_stages(workspace.root, STAGES) == ["parent"]
    assert workspace.amtl("parent", "99").code == 1
    assert workspace.amtl("parent", "champion").code == 0
    (workspace.root / "parent.lock").write_text(lock)


def test_the_flows_promote_and_rollback_do_what_the_commands_do(workspace, first):
    from flows.promote import promote
    from flows.rollback import rollback

    number = registry.champion("sample").number
    with contextlib.chdir(workspace.root):
        back = rollback(why="test", return_state=True)
        assert back.is_completed()
        assert registry.champion("sample").number != number
        refused = promote(version=number, force=True, return_state=True)
        assert refused.is_failed()
        assert "--why" in refused.message
        assert promote(version=number, force=True, why="test", return_state=True).is_completed()
    assert registry.champion("sample").number == number


def test_an_mlflow_run_that_was_killed_is_closed_by_the_next(workspace, first):
    from flows.retrain import OPEN_RUN, mlflow_run

    killed = registry.open_run("sample", "retrain", {})
    with contextlib.chdir(workspace.root):
        files.publish_json(OPEN_RUN, {"run_id": killed})
        with mlflow_run(params.load(Path("params.yaml"))) as opened:
            assert json.loads(OPEN_RUN.read_text()) == {"run_id": opened}
        assert not OPEN_RUN.exists()
    status = {run.info.run_id: run.info.status for run in workspace.mlflow_runs()}
    assert (status[killed], status[opened]) == ("KILLED", "FINISHED")


@pytest.fixture(scope="module")
def deployment(workspace, first):
    """The deployment `retrain/nightly`, with a worker at its pool."""

    with workspace.entered():
        yield from _deployed(workspace.root)


def _deployed(root):
    from prefect.client.orchestration import get_client

    prefect = [sys.executable, "-m", "prefect"]
    for arguments in (("work-pool", "create", "local", "--type", "process"), ("--no-prompt", "deploy", "--all")):
        done = subprocess.run([*prefect, *arguments], cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    with (root / "build" / "worker.log").open("w") as log:
        worker = subprocess.Popen([*prefect, "worker", "start", "--pool", "local"], cwd=root, stdout=log, stderr=log)
        try:
            with get_client(sync_client=True) as client:
                yield client.read_deployment_by_name("retrain/nightly")
        finally:
            worker.terminate()
            worker.wait()


def test_the_cron_is_listed_and_one_run_at_a_time_is_allowed(deployment):
    (schedule,) = deployment.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone, schedule.active) == ("0 4 * * *", "UTC", True)
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert deployment.work_pool_name == "local"
    assert deployment.entrypoint == "flows/retrain.py:retrain"


def test_a_triggered_run_completes_with_every_stage_as_a_task(deployment):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.deployments import run_deployment

    run = run_deployment("retrain/nightly", timeout=DEADLINE_SECONDS, poll_interval=1)
    assert run.state.is_completed(), run.state
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    assert {task.name for task in tasks} >= {f"stage-{name}" for name in STAGES}
    assert all(task.state.is_completed() for task in tasks)


def test_the_scheduler_has_planned_the_coming_nights(deployment):
    """It fails silently under sqlalchemy 2.1."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter

    only = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + DEADLINE_SECONDS
        planned = []
        while not planned and time.monotonic() < deadline:
            runs = client.read_flow_runs(deployment_filter=only, flow_run_filter=FlowRunFilter())
            planned = [run for run in runs if run.state.is_scheduled() and run.auto_scheduled]
            time.sleep(0 if planned else 0.5)
    assert planned
    assert {run.expected_start_time.hour for run in planned} == {4}


def test_the_file_names_no_machine(workspace):
    text = (workspace.root / "prefect.yaml").read_text()
    assert str(workspace.root) not in text
    assert environment.LOCAL_API not in text
