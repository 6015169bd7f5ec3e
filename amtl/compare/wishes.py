"""What a user asks a comparison for, and the plan and settings that it means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from amtl.budgets import AUTO, parse_budget
from amtl.compare.harness import Plan
from amtl.compare.methods import ALL, known
from amtl.compare.peers.fixed import width_bytes
from amtl.compare.results import WIDTH, Budget
from amtl.compare.starts import CODE, Data
from amtl.data.vocabulary import Vocabulary
from amtl.errors import ParamsError
from amtl.files import code_digest, digest_of
from amtl.packing.layout import dense_bytes
from amtl.params import Params
from amtl.sizing.front import COLD

PRECISIONS = ("fp32", "fp16", "int8")
DEFAULT = "5%"
"""The budget where params.yaml has `auto`, which no peer can find."""
DECIDING = ("peers", "harness", "methods", "ours", "references", "starts", "task")
"""Modules of this room whose code decides a run's outcome."""
QUICK_ROWS = 4_000
"""Rows of each part that a quick comparison reads: enough to see that all works, too few to conclude anything."""


@dataclass(frozen=True)
class Wishes:
    """The options of `amtl compare`.

    Attributes:
        budgets: of the table, as in compress.budget, separated by commas; empty: that of params.yaml.
        methods: names separated by commas; empty: all, without cold sizes where no model is trained anew.
        seeds: how many, from train.seed on.
        precision: empty: that of params.yaml, int8 where that is mixed.
        quick: few rows, one epoch.
    """

    budgets: str = ""
    methods: str = ""
    seeds: int = 1
    precision: str = ""
    quick: bool = False


def plan_of(wishes: Wishes, settings: Params, vocabulary: Vocabulary) -> Plan:
    """The plan that options ask for.

    Raises:
        ParamsError: a budget cannot be read, or a method or the precision is not known.
    """
    precision = _precision(wishes, settings)
    dim, seed = settings.train.dim, settings.train.seed
    return Plan(
        methods=known(_listed(wishes.methods) or _usual_methods(settings)),
        budgets=_budgets(wishes.budgets or _usual(settings.compress.budget), dense_bytes(vocabulary.rows, dim)),
        seeds=tuple(range(seed, seed + wishes.seeds)),
        precision=precision,
        code=digest_of([methods_digest(), settings.compress.tolerance.model_dump(mode="json")]),
        widths=fixed_widths(vocabulary, dim, precision),
    )


def _precision(wishes: Wishes, settings: Params) -> str:
    """What all methods write their numbers in.

    Raises:
        ParamsError: not all can.
    """
    usual = settings.compress.precision
    precision = wishes.precision or (usual if usual in PRECISIONS else PRECISIONS[-1])
    if precision not in PRECISIONS:
        raise ParamsError(f"--precision: {precision} is none of {', '.join(PRECISIONS)}, which all methods can write")
    return precision


def settings_of(settings: Params, seed: int, quick: bool) -> Params:
    """The settings of one seed: a search that serves all selectors, and little training where it is to be quick.

    The control and the tables that are cut from it may be born again whatever params.yaml says: narrower tables that start fresh are taught
    by the control, so the full width must be, and other sizes, too.
    """
    train: dict[str, Any] = {"seed": seed}
    finetune: dict[str, Any] = {"born_again": settings.compress.finetune.distillation > 0}
    if quick:
        train["epochs"] = finetune["epochs"] = 1
    return settings.model_copy(
        update={
            "train": settings.train.model_copy(update=train),
            "search": settings.search.model_copy(update={"sizes": "auto"}),
            "compress": settings.compress.model_copy(update={"finetune": settings.compress.finetune.model_copy(update=finetune)}),
        }
    )


def quick_data(data: Data) -> Data:
    """The newest rows of each part."""
    train, validation, test = (part.newest(QUICK_ROWS) for part in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)


def fixed_widths(vocabulary: Vocabulary, dim: int, precision: str) -> tuple[Budget, ...]:
    """Tables of D, D / 2, D / 4, ... dimensions as budgets: where does a fixed table begin to lose? D in fp32 is the control."""
    widest = dim // 2 if precision == "fp32" else dim
    rows_F, widths = list(vocabulary.sizes.values()), [widest >> halvings for halvings in range(widest.bit_length())]
    return tuple(Budget(f"{WIDTH}{width}", width_bytes(rows_F, width, precision)) for width in widths)


def methods_digest() -> str:
    """Hex SHA-256 of the code that decides a run's outcome."""
    return code_digest(*CODE, *(f"amtl.compare.{name}" for name in DECIDING))


def _usual_methods(settings: Params) -> tuple[str, ...]:
    """All; without distillation, and so without models that are trained anew, none whose sizes are for such models."""
    return ALL if settings.compress.finetune.distillation else tuple(name for name in ALL if name != COLD)


def _usual(budget: float | int | str) -> str:
    """The budget of params.yaml as one would write it."""
    if budget == AUTO:
        return DEFAULT
    if isinstance(budget, float):
        return f"{100 * budget:g}%" if budget <= 1 else str(int(budget))
    return str(budget)


def _budgets(text: str, whole: int) -> tuple[Budget, ...]:
    """What is listed; of budgets that come to the same bytes the first."""
    labels = _listed(text)
    if not labels:
        raise ParamsError('--budgets: there is none; give some, e.g. "20%,5%"')
    try:
        budgets = [Budget(label, parse_budget(label, whole)) for label in labels]
    except ValueError as error:
        raise ParamsError(f"--budgets: {error}") from None
    first: dict[int, Budget] = {}
    for budget in budgets:
        first.setdefault(budget.bytes, budget)
    return tuple(first.values())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (entry.strip() for entry in text.split(",")))))
