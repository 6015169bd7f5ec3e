"""One workspace, one Prefect server and one first retraining, shared by all tests of this folder."""

import contextlib
import io
import logging
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from amtl import environment

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 120
SMALL = {
    "validate": {"min_rows": 100},
    "train": {"dim": 8, "hidden": [16], "epochs": 2, "batch_size": 256},
    "search": {"hidden": [8], "buckets": 8, "epochs": 1, "ladder": [0.5, 0.2]},
    "compress": {"budget": "40%", "precision": "fp32", "finetune": {"epochs": 1}},
    "gate": {"min_auc": 0.4, "max_drop_fixed": 0.5, "max_drop_champion": 0.5},
}
"""Changes of params.yaml that make a run a matter of seconds, and its verdict PROMOTE unless it is much worse."""


@dataclass
class Result:
    """What a command left: its exit code, its output, and what the flow's log said."""

    code: int
    out: str
    err: str
    log: list[str]

    @property
    def ran(self):
        """The stages that ran."""
        return [line.rpartition(" ")[2] for line in self.log if line.startswith("stage ") and not line.endswith("is up to date")]


class Workspace:
    """A copy of the repository with a small sample, and the command line in it."""

    def __init__(self, root, server):
        self.root = root
        self.server = server

    @contextlib.contextmanager
    def entered(self):
        """The environment of this workspace, and its Prefect server, for the block."""
        from prefect.settings import PREFECT_API_URL, temporary_settings

        own = {"PREFECT_API_URL": self.server, "OMP_NUM_THREADS": "1"}
        with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: self.server}):
            for name, value in {**environment.variables(self.root), **own}.items():
                patch.setenv(name, value)
            yield

    def amtl(self, *arguments):
        """Run a command in this process."""
        from amtl import cli

        out, err, log = io.StringIO(), io.StringIO(), _Lines()
        code = 0
        with contextlib.chdir(self.root), pytest.MonkeyPatch.context() as patch, log.listening():
            patch.setattr(sys, "argv", ["amtl", *arguments])
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    cli.main()
                except SystemExit as end:
                    code = end.code or 0
        return Result(code, out.getvalue(), err.getvalue(), log.lines)

    def change(self, **sections):
        """Change entries of params.yaml."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, entries in sections.items():
            _merge(params[section], entries)
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def versions(self):
        from amtl.release import registry

        return registry.versions("sample")

    def mlflow_runs(self):
        """All MLflow runs, the newest first."""
        from mlflow import MlflowClient

        client = MlflowClient()
        return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


class _Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())

    @contextlib.contextmanager
    def listening(self):
        loggers = [logging.getLogger(name) for name in ("prefect.task_runs", "prefect.flow_runs")]
        for logger in loggers:
            logger.addHandler(self)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(self)


def _merge(section, entries):
    for key, value in entries.items():
        if isinstance(value, dict):
            _merge(section[key], value)
        else:
            section[key] = value


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a real Prefect server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    log = (tmp_path_factory.getbasetemp() / "prefect-server.log").open("w")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _until_healthy(f"{url}/health", process)
        yield url
    finally:
        process.terminate()
        process.wait()
        log.close()


def _until_healthy(url, process):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the Prefect server ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.status == 200
            return
        time.sleep(0.1)
    pytest.fail("the Prefect server did not answer")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory, server):
    """A workspace in a path with a space, its sample written but nothing run."""
    from flows.server import send_pending

    space = Workspace(tmp_path_factory.mktemp("work space"), server)
    _copy_repository(space.root)
    with space.entered():
        space.change(**SMALL)
        written = space.amtl("sample", "--days", "6", "--rows-per-day", "500", "--replace")
        assert written.code == 0, written.err
    yield space
    with space.entered():
        send_pending()


@pytest.fixture(autouse=True)
def _inside(workspace):
    with workspace.entered():
        yield


@pytest.fixture(scope="session")
def first(workspace):
    """What the first `amtl retrain` left, run as a user runs it."""
    command = [str(Path(sys.executable).with_name("amtl")), "retrain"]
    with workspace.entered():
        done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=False)
    return Result(done.returncode, done.stdout, done.stderr, [])


def _copy_repository(root):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("sample_store/", "tests/", "data.dvc", "dvc.lock")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / "parent.lock").write_text("parent: none\ndata: ''\n")
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "start"]):
        subprocess.run(["git", *command], cwd=root, check=True)
