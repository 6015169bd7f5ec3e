"""MLflow: runs, model versions, the aliases `challenger` and `champion`, and the ledger of who was champion.

MLflow keeps files and metadata. It would register a run twice, accept a source that is not there and forget where an
alias was; so a bundle is verified before it is registered, a version is known by its bundle's digest, and an alias moves
only from where its mover believes it to be. Every function works on the store that MLFLOW_TRACKING_URI names, and raises
`RegistryError` when that is not set or the store does not answer.

    store       the connection, versions, aliases, tags
    runs        what a run logs
    artifacts   a bundle becomes a version, and comes back
    promotion   the alias `champion` moves; the ledger in MLflow
    history     the ledger's rules, pure
"""

from amtl.release.registry.artifacts import fetch, register
from amtl.release.registry.history import Tenure
from amtl.release.registry.promotion import ledger, promote, rollback, smoke_test
from amtl.release.registry.runs import RunLogger, close_run, log_params, open_run, stage_run
from amtl.release.registry.store import Version, champion, find, get, set_verdict, versions

__all__ = [
    "RunLogger",
    "Tenure",
    "Version",
    "champion",
    "close_run",
    "fetch",
    "find",
    "get",
    "ledger",
    "log_params",
    "open_run",
    "promote",
    "register",
    "rollback",
    "set_verdict",
    "smoke_test",
    "stage_run",
    "versions",
]
