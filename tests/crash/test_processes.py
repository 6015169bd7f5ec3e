"""Whatever a run has started ends with the run, however it ends. Waits are on process descriptors, with a deadline."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from waits import DEADLINE_SECONDS, ended

from amtl import processes

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs process descriptors (Linux)"),
    pytest.mark.timeout(2 * DEADLINE_SECONDS),
]

CHILD = """
import os, signal, sys
from amtl import processes
processes.die_with_parents()
print("child", os.getpid(), flush=True)
signal.pause()
"""


@pytest.fixture
def start():
    """A function that starts Python code in a session of its own; what is left of it is killed at the end."""
    started = []

    def begin(code, **environment):
        command = [sys.executable, "-c", textwrap.dedent(code)]
        env = {**os.environ, **environment}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def pid_from(process):
    word, pid = process.stdout.readline().split()
    assert word == "child"
    return int(pid)


@pytest.mark.parametrize(
    "command", [[sys.executable, "-c", CHILD], ["sh", "-c", f"'{sys.executable}' -c '{CHILD}'; true"]], ids=["direct", "shell"]
)
def test_a_stage_dies_with_the_dvc_that_started_it(start, command):
    parent = start(f"import signal, subprocess; subprocess.Popen({command!r}); signal.pause()", DVC_STAGE="train")
    child = pid_from(parent)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert ended(child)


def test_a_stage_dies_with_the_flow_though_its_parent_lives(start):
    flow = start("import signal; signal.pause()")
    dvc = start(f"import signal, subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])", AMTL_FLOW_PID=str(flow.pid))
    child = pid_from(dvc)
    os.kill(flow.pid, signal.SIGKILL)
    flow.wait()
    assert ended(child, dvc.pid)
    dvc.wait()


def test_a_stage_whose_flow_has_ended_already_does_not_start(start):
    flow = start("")
    flow.wait()
    late = start(CHILD, AMTL_FLOW_PID=str(flow.pid))
    assert late.wait(timeout=DEADLINE_SECONDS) == -signal.SIGKILL


def test_a_process_started_by_hand_outlives_its_parent(start):
    parent = start(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdin=subprocess.DEVNULL)")
    child = pid_from(parent)
    parent.wait()
    try:
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
    assert ended(child)


def test_run_streamed_hands_over_lines_and_the_exit_code(tmp_path):
    lines = []
    code = "import os, sys; print('one'); sys.stderr.write('two\\n'); print(os.getcwd()); sys.exit(3)"
    assert processes.run_streamed([sys.executable, "-u", "-c", code], tmp_path, os.environ, lines.append) == 3
    assert lines == ["one", "two", str(tmp_path)]


def test_run_streamed_tells_of_a_signal(tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert processes.run_streamed([sys.executable, "-c", code], tmp_path, os.environ, print) == -signal.SIGTERM


def test_run_streamed_leaves_nothing_behind_when_the_reader_fails(tmp_path):
    pids = []
    code = "import os, signal, subprocess\nprint(subprocess.Popen(['sleep', '60']).pid, os.getpid(), sep='\\n', flush=True)\nsignal.pause()"

    def on_line(line):
        pids.append(int(line))
        if len(pids) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.run_streamed([sys.executable, "-c", code], tmp_path, os.environ, on_line)
    assert ended(*pids)


def test_run_streamed_ends_what_the_command_left_in_the_background(tmp_path):
    lines = []
    code = "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    assert processes.run_streamed([sys.executable, "-c", code], Path(tmp_path), os.environ, lines.append) == 0
    assert ended(int(lines[0]))
