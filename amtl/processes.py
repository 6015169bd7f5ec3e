"""Processes that end together: whatever a run has started ends when the run ends, however it ends.

A killed process runs no clean-up, so the guard sits in the child: each stage watches those who started it
(`die_with_parents`), and ends itself at once when one of them is gone. `run_streamed` is the parent's half: the
child gets a process group of its own, which is killed whole on the way out.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

FLOW_PID = "AMTL_FLOW_PID"
"""Environment variable by which a flow names itself to the stages below it."""

POLL_SECONDS = 0.5
"""How often a parent is looked at where the system has no process descriptors (not Linux)."""


def die_with_parents() -> None:
    """End this process when the flow or the dvc that started it ends; a process started by hand is left alone."""
    flow = os.environ.get(FLOW_PID, "")
    if flow.isdigit():
        die_with(int(flow))
    if "DVC_STAGE" in os.environ:
        for pid in _starters():
            die_with(pid)


def die_with(pid: int) -> None:
    """Kill this process at once when the process `pid` ends, or now if it has ended already."""
    parent = os.getppid()
    ended = _end_of(pid)
    if pid == parent and os.getppid() != parent:  # it ended before it was watched, and its number may be another's by now
        _die()

    def watch() -> None:
        ended()
        _die()

    threading.Thread(target=watch, name=f"die-with-{pid}", daemon=True).start()


def run_streamed(command: Sequence[str], cwd: Path, env: Mapping[str, str], on_line: Callable[[str], None]) -> int:
    """Run a command in a process group of its own and hand over its output line by line as it comes.

    However this function is left, nothing of the group is alive afterwards.

    Args:
        command: the program and its arguments.
        cwd: the folder to run it in.
        env: its whole environment.
        on_line: called with each line of stdout and stderr, without the line's end.

    Returns:
        The exit code; negative for a signal.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        with process.stdout:
            for line in process.stdout:
                on_line(line.rstrip("\n"))
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        # The leader is not yet reaped, so the number still means this group.
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return code


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _end_of(pid: int) -> Callable[[], None]:
    """A function that returns when `pid` has ended. The process is held from now on: its number cannot be mistaken later."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return lambda: None
    except (AttributeError, OSError):
        return lambda: _poll_until_gone(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: _wait_for(poll)


def _wait_for(poll: select.poll) -> None:
    poll.poll()


def _poll_until_gone(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:
            pass
        time.sleep(POLL_SECONDS)


def _starters() -> Iterator[int]:
    """The parent, and while that is a shell that only runs one command for somebody (`sh -c`), its parent too."""
    pid = os.getppid()
    while pid > 1:
        yield pid
        if not _is_command_shell(pid):
            return
        pid = _parent_of(pid)


def _is_command_shell(pid: int) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return arguments[0].rsplit(b"/", 1)[-1].endswith(b"sh") and b"-c" in arguments[1:-1]


def _parent_of(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])
