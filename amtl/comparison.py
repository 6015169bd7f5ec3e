"""`amtl compare` in a workspace: the rows and the trained table that its stages made, the report and the run that it leaves."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amtl.errors import ArtifactError
from amtl.files import code_digest
from amtl.params import Params
from amtl.stages import CACHE, CONTROLS, STATE, Inputs, say

if TYPE_CHECKING:
    from amtl.compare.recommendation import Recommendation
    from amtl.compare.starts import Problem
    from amtl.compare.wishes import Wishes
    from amtl.model.ctr_model import CTRModel

KEPT = CACHE / "compare"


def compare(settings: Params, wishes: Wishes, workers: int, out: Path) -> Recommendation:
    """Run what is missing of a comparison, write its report to `out` and log it to MLflow.

    Args:
        workers: processes that share the runs.

    Raises:
        ParamsError: a wish cannot be met as it is put.
        ArtifactError: the workspace's stages have not run.
    """
    from amtl.compare import report
    from amtl.compare.execution import run
    from amtl.compare.starts import CODE
    from amtl.compare.wishes import plan_of
    from amtl.release.registry import log_params, stage_run

    data = Inputs(settings)
    plan = plan_of(wishes, settings, data.vocabulary)
    found = run(functools.partial(problem_of_seed, settings, wishes.quick, code_digest(*CODE)), plan, KEPT, say, workers)
    comparison = replace(found, context=_context(settings, wishes, data), tolerance=settings.compress.tolerance)
    advice = report.write(comparison, out)
    with stage_run("compare", settings.register_.name) as logger:
        log_params(logger.run_id, comparison.context)
        logger.metrics(report.metrics(comparison))
        logger.files([out / name for name in (report.CSV, report.JSON, report.HTML)])
    return advice


def problem_of_seed(settings: Params, quick: bool, code: str, seed: int) -> Problem:
    """A seed's problem; the table that the stage train made serves its own seed.

    Args:
        code: what stands for the code in the problem's digest.
    """
    from amtl.compare.starts import Data, problem
    from amtl.compare.wishes import quick_data, settings_of

    inputs = Inputs(settings)
    data = Data(inputs.vocabulary, **inputs.parts("train", "validation", "test"))
    base = _trained(inputs) if seed == settings.train.seed and not quick else None
    return problem(settings_of(settings, seed, quick), quick_data(data) if quick else data, KEPT, say, base, code=code, controls=CONTROLS)


def _trained(inputs: Inputs) -> CTRModel:
    """The full-width model that the stage train made.

    Raises:
        ArtifactError: there is none, or one of other settings or another vocabulary.
    """
    from amtl.model.ctr_model import ModelConfig
    from amtl.training.state import read_state

    state, settings = read_state(STATE), inputs.settings
    if state.config != ModelConfig.of(settings.events, settings.train) or len(state.vocabulary) != inputs.vocabulary.rows:
        raise ArtifactError(f"{STATE} is not of today's params.yaml and vocabulary; run: dvc repro train")
    return state.model()


def _context(settings: Params, wishes: Wishes, data: Inputs) -> dict[str, Any]:
    """What the report says of data and settings."""
    rows = {f"{name} rows": f"{len(part):,}" for name, part in data.parts("train", "validation", "test").items()}
    return {
        "name": settings.events.name,
        **rows,
        "table": f"{data.vocabulary.rows:,} rows of {settings.train.dim} dimensions",
        "backbone": settings.train.backbone,
        "precision": wishes.precision,
        "seeds": wishes.seeds,
        **({"quick": "few rows, one epoch"} if wishes.quick else {}),
    }
