"""`amtl compare` in a workspace: the rows that its stages made, the report and the run that it leaves."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amtl.errors import DataError
from amtl.files import code_digest, prune
from amtl.params import Params
from amtl.stages import CACHE, Inputs, say

if TYPE_CHECKING:
    from amtl.compare.recommendation import Recommendation
    from amtl.compare.starts import Problem
    from amtl.compare.wishes import Wishes

KEPT = CACHE / "compare"


def compare(settings: Params, wishes: Wishes, workers: int, out: Path) -> Recommendation:
    """Run what is missing of a comparison, write its report to `out` and log it to MLflow.

    Args:
        workers: processes that share the runs.

    Raises:
        ParamsError: a wish cannot be met as it is put.
        ArtifactError: the workspace's stages have not run.
        DataError: the rows cannot be judged by.
    """
    from amtl.compare import report
    from amtl.compare.execution import TAKES_UP, run
    from amtl.compare.starts import CODE
    from amtl.compare.wishes import plan_of
    from amtl.release.registry import log_params, stage_run
    from amtl.training.control import KEPT_DAYS

    data = Inputs(settings)
    plan = plan_of(wishes, settings, data.vocabulary)
    trainings = plan.code if TAKES_UP in plan.methods else ""
    found = run(functools.partial(problem_of_seed, settings, wishes.quick, code_digest(*CODE), trainings), plan, KEPT, say, workers)
    prune(KEPT, (), KEPT_DAYS)
    comparison = replace(found, context=_context(settings, wishes, plan.precision, data), tolerance=settings.compress.tolerance)
    advice = report.write(comparison, out)
    with stage_run("compare", settings.register_.name) as logger:
        log_params(logger.run_id, comparison.context)
        logger.metrics(report.metrics(comparison))
        logger.files([out / name for name in (report.CSV, report.JSON, report.HTML)])
    return advice


def problem_of_seed(settings: Params, quick: bool, code: str, trainings: str, seed: int) -> Problem:
    """A seed's problem; every seed is trained alike, from fresh weights, whatever the workspace's own table began from.

    Args:
        code: what stands for the code in the problem's digest.
        trainings: what stands for the methods' code where they share trainings; empty: they do not.

    Raises:
        DataError: the validation or the test rows have labels of one kind only.
    """
    from amtl.compare.starts import Data, problem
    from amtl.compare.wishes import quick_data, settings_of

    inputs = Inputs(settings)
    whole = Data(inputs.vocabulary, **inputs.parts("train", "validation", "test"))
    data = quick_data(whole) if quick else whole
    for name, part in (("validation", data.validation), ("test", data.test)):
        if len(part.labels.unique()) < 2:
            more = "compare without --quick" if quick else "take a larger part of the events (events.split)"
            raise DataError(f"all {len(part):,} {name} rows have the same label, so they have no AUC; {more}")
    return problem(settings_of(settings, seed, quick), data, KEPT, say, code=code, trainings=trainings)


def _context(settings: Params, wishes: Wishes, precision: str, data: Inputs) -> dict[str, Any]:
    """What the report says of data and settings."""
    from amtl.training.control import BORN_AGAIN

    rows = {f"{name} rows": f"{len(part):,}" for name, part in data.parts("train", "validation", "test").items()}
    return {
        "name": settings.events.name,
        **rows,
        "table": f"{data.vocabulary.rows:,} rows of {settings.train.dim} dimensions",
        "backbone": settings.train.backbone,
        "precision": precision,
        "seeds": wishes.seeds,
        **({"quick": "few rows, one epoch"} if wishes.quick else {}),
        **({BORN_AGAIN: "the control, and tables at proposed sizes"} if settings.compress.finetune.distillation else {}),
    }
