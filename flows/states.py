"""How tasks and flows end: a user's mistake as a Failed state with its message and no traceback, and what may be retried."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

from amtl.errors import AmtlError
from flows.dvc_repo import LockTrouble

P = ParamSpec("P")
T = TypeVar("T")

STEP: dict[str, Any] = {
    # DVC is the only cache: a task cached by Prefect is "Completed" after its file was deleted.
    "cache_policy": NO_CACHE,
    "persist_result": False,
    # Only what passes by itself is tried again; a refusal of the data never.
    "retries": 2,
    "retry_delay_seconds": 5,
    "retry_condition_fn": lambda _task, _run, state: isinstance(state.data, LockTrouble),
}
"""Options of every task here."""


def as_state(function: Callable[P, T]) -> Callable[P, T]:
    """Let a flow's or task's function return a Failed state where it would raise an `AmtlError`."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return function(*args, **kwargs)
        except AmtlError as error:
            return Failed(data=error, message=str(error))

    return guarded


def outcome(state: State[Any]) -> Any:
    """What a flow or task returned.

    Raises:
        Exception: what it ended on: an `AmtlError` with its message, or something unexpected.
        AmtlError: it was cancelled.
    """
    if state.is_completed():
        return state.result()
    error = state.result(raise_on_failure=False) if state.is_failed() or state.is_crashed() else None
    if isinstance(error, Exception) and not isinstance(error, FailedRun):
        raise error
    raise AmtlError(state.message or f"the run ended in state {state.name}")
