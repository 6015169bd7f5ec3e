"""Waiting for processes to end, on their descriptors and with a deadline: tests share it."""

import os
import select

DEADLINE_SECONDS = 30


def ended(*pids):
    """Whether all these processes end before the deadline."""
    return all(_ended(pid) for pid in pids)


def _ended(pid):
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], DEADLINE_SECONDS)[0])
    finally:
        os.close(descriptor)
