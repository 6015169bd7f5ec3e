"""The nightly deployment as a user sets it up: server, work pool, `prefect deploy`, worker, a triggered run."""

import subprocess
import sys
import time

import pytest

from amtl import environment

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")]
DEADLINE_SECONDS = 90
STAGES = {"validate", "parent", "count", "train", "search", "compress", "evaluate"}


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
