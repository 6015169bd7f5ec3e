"""Which sizes a budget gets: what each selector proposes is judged, trained where that can help, and the best on validation wins.

What is judged is always what would be served: numbers coded and read back. A model that keeps few of its numbers is also cut in steps,
each in a basis of what the step before left (`amtl.sizing.pricing.rebase`), and the better of the two ways is kept. Where the control
may be born again, so may what is cut: models trained anew at proposed sizes compete as well. That is another model than
the one that was validated, so one that loses nothing gives way to it only if it is surely better (`SURE`).

Shapes: V table rows, F fields, N validation events.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import CTRModel
from amtl.packing.allocation import allocate
from amtl.packing.cut import Cut, born_again, cut, finetuned, propose, settled, tuned_on
from amtl.params import Params, ToleranceParams
from amtl.sizing.front import COLD, Front
from amtl.sizing.pricing import rebase
from amtl.training.control import BORN_AGAIN
from amtl.training.tuning import Tuning

AUTO = ("curvature", "twins", "rule", COLD)
"""The selectors that `search.sizes: auto` chooses among, as far as the front has them."""
DEEP, MOST_STEPS = 0.2, 4
"""Kept share of a table's numbers below which it is also cut in steps, halving from there on, but in no more than so many."""
TRAINED = 2
"""Proposals that are fine-tuned where none loses nothing as it is; one where models are trained anew beside it."""

SURE = 2.0
"""Standard errors by which another model must be better than one that loses nothing. On few validation rows the best of two models is
chance: on ml-100k split by time, models trained anew were better there by .4 to 1.6 of them, and worse by .004 to .009 AUC later on."""


@dataclass(frozen=True)
class Goal:
    """What a cut model is held against: the control's validation figures, and how much worse still counts as no loss."""

    control: Mapping[str, float]
    tolerance: ToleranceParams

    def met(self, measured: Mapping[str, float]) -> bool:
        """Whether nothing is lost."""
        auc, logloss = (measured[name] - self.control[name] for name in ("auc", "logloss"))
        return auc >= -self.tolerance.auc and logloss <= self.tolerance.logloss

    def compared(self, measured: Mapping[str, float]) -> str:
        """Figures and how far they are from the control's, in words."""
        auc, logloss = (measured[name] - self.control[name] for name in ("auc", "logloss"))
        figures = f"validation AUC {measured['auc']:.4f} ({auc:+z.4f}), log loss {measured['logloss']:.4f} ({logloss:+z.4f})"
        return f"{figures}{'' if self.met(measured) else ': more than the tolerance below the control'}"


@dataclass(frozen=True)
class Table:
    """A trained table whose sizes are to be chosen, and what choosing works with.

    Attributes:
        model: whole and rotated; the teacher of what is cut from it. front: what its rows are worth.
        shown_V: how often training shows each row.
    """

    settings: Params
    model: CTRModel
    front: Front
    shown_V: Tensor
    tuning: Tuning
    goal: Goal

    @classmethod
    def of(cls, settings: Params, model: CTRModel, front: Front, vocabulary: Vocabulary, tuning: Tuning, goal: Goal) -> Table:
        """The table that a search found."""
        shown_V = torch.from_numpy(vocabulary.exposures_V(settings.train.unknown_rate, len(tuning.train)))
        return cls(settings, model, front, shown_V, tuning, goal)

    @property
    def selectors(self) -> tuple[str, ...]:
        """Whose sizes are proposed; `auto` has cold ones where models are trained anew, for which they are."""
        sizes, anew = self.settings.search.sizes, self.tuning.fresh is not None
        return tuple(name for name in AUTO if name in self.front.selectors and (anew or name != COLD)) if sizes == "auto" else (sizes,)

    def propose(self, selector: str, budget_bytes: int) -> Cut:
        """A selector's sizes, untrained."""
        return propose(selector, self.model, self.front, budget_bytes, self.settings.compress.precision, self.tuning)

    def rank(self, judged: Cut) -> tuple[bool, float]:
        """What the best is chosen by: a cut that loses nothing comes before one that does, whatever its score; then the score."""
        return self.goal.met(judged.measured), judged.measured["score"]

    def better(self, best: Cut, trained: Cut) -> Cut:
        """The one to go on with: by rank, but a model of its own takes the place of a cut that loses nothing only if `SURE`ly better."""
        winner = max(best, trained, key=self.rank)
        if winner is trained and trained.born_again and not best.born_again and self.goal.met(best.measured):
            errors = standard_errors(best.losses_N - trained.losses_N)
            if errors < SURE:
                self.tuning.log(f"{trained.name} is better by {errors:.1f} standard errors, which may be chance: {best.name} is kept")
                return best
        return winner

    def say(self, judged: Cut) -> None:
        """One line of progress."""
        kept = f"{judged.bytes:,} bytes, {judged.kept:.1%} of the numbers"
        trained = "fine-tuned" if judged.history else "untrained"
        self.tuning.log(f"{judged.name}, {trained}: {kept}; {self.goal.compared(judged.measured)}")


@dataclass(frozen=True)
class Choice:
    """The cut that was chosen, as it is served, and one line (`Cut.described`) for each that was judged.

    Attributes:
        anew: whose sizes were the best of those at which models were trained anew; None where none were.
    """

    cut: Cut
    judged: list[dict[str, Any]]
    anew: str | None = None


def standard_errors(gains_N: Tensor) -> float:
    """How many standard errors the mean of paired differences [N] is above zero; 0 for fewer than two of them, or if none differs."""
    spread = float(gains_N.std()) if len(gains_N) > 1 else 0.0
    return float(gains_N.mean()) * math.sqrt(len(gains_N)) / spread if spread else 0.0


def proposals(table: Table, selectors: Sequence[str], budget_bytes: int) -> list[Cut]:
    """What the selectors propose, best first, untrained."""
    return sorted((table.propose(selector, budget_bytes) for selector in selectors), key=table.rank, reverse=True)


def best_cut(
    table: Table,
    selectors: Sequence[str],
    budget_bytes: int,
    resume: Path | None = None,
    *,
    anew: Sequence[str] | None = None,
    tuned: bool = True,
    enough: bool = False,
) -> Choice:
    """The best on validation of what the selectors propose, before and after training, as it is served.

    Where the best proposal loses nothing as it is, it alone is fine-tuned. Else the best `TRAINED` are, among which are sizes that were
    reached in steps. Models may be trained anew at the sizes of every selector, cold ones first: those are for such models. All of these
    are fine-tuned once; if one of them is the best, it alone gets the other rounds of `compress.finetune.rounds`.

    Args:
        anew: at whose sizes models may be trained anew (`compress.finetune.born_again`); None: of all `selectors`.
        tuned: whether proposals are fine-tuned.
        enough: train no more once a cut loses nothing.

    Raises:
        BudgetError: no table meets the budget.
    """
    found = proposals(table, selectors, budget_bytes)
    if tuned and 0 < found[0].kept < DEEP and not table.goal.met(found[0].measured):
        found = sorted([*found, in_steps(table, found[0], budget_bytes, resume)], key=table.rank, reverse=True)
    for proposed in found:
        table.say(proposed)
    best, judged, pupils = found[0], [proposed.described() for proposed in found], list[Cut]()
    for trained in _trained(table, found if tuned else (), budget_bytes, selectors if anew is None else anew, resume):
        table.say(trained)
        judged.append(trained.described())
        best = table.better(best, trained)
        pupils = [max([*pupils, trained], key=table.rank)] if trained.born_again else pupils
        if enough and table.goal.met(best.measured):
            break
    else:
        if best.born_again and (rounds := table.settings.compress.finetune.rounds) > 1:
            further = tuned_on(best, rounds, table.model, table.tuning, resume and _folder(resume, best.name))
            table.say(further)
            judged.append(further.described())
            best = table.better(best, further)
    return Choice(best if best.history else settled(best, table.tuning), judged, pupils[0].selector if pupils else None)


def _trained(table: Table, found: Sequence[Cut], budget_bytes: int, anew: Sequence[str], resume: Path | None) -> Iterator[Cut]:
    """Trainings, one after the other as they are asked for: the best of `found` fine-tuned, then models of their own."""
    tuning, lossless = table.tuning, bool(found) and table.goal.met(found[0].measured)
    for proposed in found[: 1 if lossless or tuning.fresh else TRAINED] if tuning.settings.epochs else ():
        yield finetuned(proposed, table.model, tuning, resume and _folder(resume, proposed.name))
    for selector in sorted(anew, key=lambda name: name != COLD):
        if tuning.fresh:
            compress, table_VD = table.settings.compress, table.model.embedding.weight.detach()
            layout = allocate(table.front, selector, table_VD, budget_bytes, compress.precision, stored_basis=False)
            yield born_again(selector, layout, tuning.fresh, table.model, tuning, resume and _folder(resume, f"{selector} {BORN_AGAIN}"))


def _folder(resume: Path, name: str) -> Path:
    """Where the training of a cut of that name is kept."""
    return resume / name.replace(" ", "-")


def in_steps(table: Table, target: Cut, budget_bytes: int, resume: Path | None = None) -> Cut:
    """A proposal's budget reached in steps, by its selector.

    Untrained, but for `compress.finetune.rounds` - 1 trainings on the way; where models are trained anew the rounds are for those.
    """
    settings, tuning, front, selector = table.settings, table.tuning, table.front, target.selector
    model, precision = copy.deepcopy(table.model), settings.compress.precision
    before = min(MOST_STEPS - 1, math.ceil(math.log2(DEEP / target.kept)))
    rounds = 1 if tuning.fresh else settings.compress.finetune.rounds
    for left in range(before, 0, -1):
        table_VD, budget = model.embedding.weight.detach(), int(budget_bytes * (DEEP / target.kept) ** (left / before))
        cut(model, allocate(front, selector, table_VD, budget, precision, model.embedder.basis_FDD is not None).sizes_V)
        if left < rounds:
            tuning.run(model, table.model, resume / f"{selector}-step-{left}" if resume else None)
        parts = model, front.field_V, table.shown_V, tuning.train
        front, _ = rebase(*parts, settings.search, settings.train.seed, tuning.device, _silent, (selector,))
        if selector == COLD:  # owes nothing to the table, so stays what it was
            front = front.with_worth(COLD, table.front.worth_of(COLD))
    return replace(propose(selector, model, front, budget_bytes, precision, tuning), steps=before + 1)


def _silent(text: str) -> None:
    """The log of what is asked again."""
