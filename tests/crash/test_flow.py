"""A flow that is killed takes dvc, the stage and the temporary server with it, and the next run completes the work."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from waits import ended

from flows import data, dvc_repo, server, stages

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")

STAGE = """
import os, pathlib, signal
from amtl import processes
processes.die_with_parents()
if not pathlib.Path("../go").exists():
    print("pids", os.getpid(), os.getsid(0), flush=True)
    signal.pause()
pathlib.Path("out").write_text("whole")
"""
FLOW = """
import sys
from pathlib import Path
from flows import stages
stages.repro(Path(sys.argv[1]), "slow", None, lambda form, line: print(form % line, flush=True))
"""
SERVE = """
import signal
from flows import server
with server.temporary() as url:
    print(url, flush=True)
    signal.pause()
"""


def test_killing_the_flow_kills_dvc_and_the_stage(dvc):
    root = dvc("stages: {slow: {cmd: python stage.py, deps: [stage.py], outs: [out]}}\n")
    (root / "stage.py").write_text(STAGE)
    data.pin(root)
    flow = subprocess.Popen([sys.executable, "-c", FLOW, str(root)], stdout=subprocess.PIPE, text=True)
    line = next(line for line in flow.stdout if line.startswith("pids "))
    stage, dvc_process = (int(word) for word in line.split()[1:])
    assert len({stage, dvc_process, flow.pid}) == 3
    os.kill(flow.pid, signal.SIGKILL)
    flow.wait()
    assert ended(stage, dvc_process)
    assert not (root / "out").exists()
    _next_run_completes(root)


def _next_run_completes(root):
    (root.parent / "go").touch()
    for attempt in range(3):
        try:
            stages.repro(root, "slow", None, print)
            break
        except dvc_repo.LockTrouble:
            assert attempt < 2
    assert (root / "out").read_text() == "whole"
    assert dvc_repo.changed_stages(root, ["slow"]) == []


def test_the_temporary_server_answers_and_ends_with_the_block():
    with server.temporary() as url, urllib.request.urlopen(f"{url}/health", timeout=120) as answer:
        assert answer.status == 200
        (pid,) = _children(os.getpid(), "flows.server")
    assert ended(pid)


def test_the_temporary_server_dies_with_its_flow():
    flow = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True)
    assert flow.stdout.readline().startswith("http://127.0.0.1:")
    (pid,) = _children(flow.pid, "")
    flow.kill()
    flow.wait()
    assert ended(pid)


def _children(pid, word):
    """The pids of a process's children whose command line holds `word`."""
    found = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return [child for child in found if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes()]
