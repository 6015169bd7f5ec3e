"""The flow `promote`: judge a registered version again, on the rows of today, and make it the champion. The manual entry."""

from __future__ import annotations

import contextlib
from pathlib import Path

from prefect import flow

from amtl import environment, files, params, stages
from amtl.errors import ParamsError, RegistryError
from amtl.params import Params
from amtl.release import registry
from amtl.release.gate import Verdict, judge
from amtl.release.registry import Version
from flows import release
from flows.states import as_state


def promote_version(root: Path, number: int | None = None, force: bool = False, why: str = "") -> Version:
    """Make a version the champion if the gate says PROMOTE, or if `force` overrules it.

    Args:
        root: the workspace.
        number: the version; None takes the one with the alias `challenger`.
        force: promote whatever the gate says; then `why` must be given.
        why: the reason, for the ledger.

    Returns:
        The champion.

    Raises:
        ParamsError: force without a reason.
        RegistryError: no such version; the gate says HOLD or REJECT.
    """
    if force and not why:
        raise ParamsError("--force needs a reason for the ledger; give it with --why")
    with contextlib.chdir(root), files.workspace_lock(root):
        settings = params.load(Path("params.yaml"))
        champion = registry.champion(settings.register_.name)
        version = _wanted(settings, number, champion)
        if champion is not None and champion.number == version.number:
            return champion
        if force:
            registry.smoke_test(version.name, version.number)
        reason = why if force else "; ".join(filter(None, (why, *_approval(settings, version, champion).reasons)))
        expected = champion.number if champion else None
        return registry.promote(version.name, version.number, expected, by="amtl promote", reason=reason)


@flow(name="promote", persist_result=False)
@as_state
def promote(version: int | None = None, force: bool = False, why: str = "") -> Version:
    """`promote_version` in the workspace that holds the current folder."""
    root = environment.find_root(Path.cwd())
    environment.apply(root)
    return promote_version(root, version, force, why)


def _wanted(settings: Params, number: int | None, champion: Version | None) -> Version:

    name = settings.register_.name
    if number is not None:
        return registry.get(name, number)
    challenger = next((version for version in registry.versions(name) if "challenger" in version.aliases), None)
    if challenger is None and champion is None:
        raise RegistryError(f"{name} has no version yet; `amtl retrain` makes one")
    if challenger is None:
        raise RegistryError(f"{name} has no challenger; name a version, as in `amtl promote 3` (`amtl status` lists them)")
    return challenger


def _approval(settings: Params, version: Version, champion: Version | None) -> Verdict:

    verdict = judge(_metrics(settings, version), release.metrics_of(settings, champion) if champion else None, settings.gate)
    registry.set_verdict(version, verdict.decision, verdict.reasons)
    if verdict.decision != "PROMOTE":
        reasons = "; ".join(verdict.reasons)
        raise RegistryError(f"{verdict.decision} for version {version.number}: {reasons}; to overrule it: --force --why REASON")
    return verdict


def _metrics(settings: Params, version: Version) -> dict[str, object]:
    """Its metrics on the rows of today: those of the last evaluation if it is the one in the workspace, which know the fixed width too."""
    here = stages.BUNDLE.is_dir() and stages.METRICS.is_file() and release.registered(settings)
    if here and here.number == version.number:
        metrics: dict[str, object] = files.read_json(stages.METRICS)
        return metrics
    return release.metrics_of(settings, version)
