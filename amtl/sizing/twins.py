"""Sizes that are learned under a budget: the twins with the ordered head, trained against what cutting costs.

The twins read a group of rows by frequency and, where the table is trained, by the energy profile of its rows; each field has twins
of its own. They minimise

    sum_g C[g, mu_g] + pressure * log(kept share),          mu_g: the size that group g wants,

with C[g, t] what cutting the rows of group g to t dimensions costs (`costs.row_costs`, added up; linear between sizes), and a
proportional-integral controller that sets the pressure so that the kept share follows a target which falls from 1 through the rungs of
a ladder. (Tried first: the cross-entropy under the masks itself, whose gradient at a converged model is noise around zero; and the
expectation of C over the head's soft choice, in which the little that a small size costs on one side drowns in the much that the next
one costs on the other.) The size that a group wants at the end of each rung says at which kept share it falls below
each level: the price of the level is one over that share.

Shapes: R rungs, G groups, O = D + 1 sizes, V rows, D dimensions, L levels above 0, E energies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amtl.model.frequency import Groups, group_by_frequency_and_energy
from amtl.model.twins import AdaptivelyMaskedTwins, OrderedTwins
from amtl.params import SearchParams
from amtl.sizing.costs import Sample, field_chunks, tail_energies

PROPORTIONAL, INTEGRAL = 0.3, 0.02
RAMP = 0.6  # share of a rung's steps in which the target falls; then it holds


@dataclass(frozen=True)
class Descent:
    """What the twins wanted on the way down.

    Attributes:
        share_R: kept share that each rung aims at, falling. wanted_RG: real-valued size of each group at its end.
        group_V: group of each table row; the groups of a field follow one another, as many for every field.
        values_G: rows in each group.
    """

    share_R: Tensor
    wanted_RG: Tensor
    group_V: Tensor
    values_G: Tensor

    def worth(self, size_L1: Tensor) -> Tensor:
        """What level l is worth over level l - 1 to each group, float32 [G, L]: its dimensions over the share at which the group lets go.

        A group has the level that is nearest to its wanted size. Wanted sizes run from D at a share of 1 through the rungs to 0 at 0,
        linearly between, and never rise on the way.
        """
        dim, groups = float(size_L1[-1]), len(self.values_G)
        ends_SG = [torch.full((1, groups), dim), self.wanted_RG.clamp(max=dim), torch.zeros(1, groups)]
        wanted_SG = torch.cat(ends_SG).cummin(0).values
        share_S = torch.cat([torch.ones(1), self.share_R, torch.zeros(1)])
        border_L = (size_L1[1:] + size_L1[:-1]) / 2
        below_SGL = wanted_SG.unsqueeze(2) < border_L
        after_GL = below_SGL.int().argmax(0)  # the first station below the border; the last one, 0, always is
        upper_GL, lower_GL = (wanted_SG.T.gather(1, station_GL) for station_GL in (after_GL - 1, after_GL))
        ratio_GL = (border_L - lower_GL) / (upper_GL - lower_GL)
        let_go_GL = torch.lerp(share_S[after_GL], share_S[after_GL - 1], ratio_GL)
        return size_L1.diff() / let_go_GL


def energy_profiles(sample: Sample, table_VD: Tensor) -> Tensor:
    """What one lookup of each row would lose, about, if the row were cut to 0, D / 8, D / 4 or D / 2 dimensions: float32 [V, E]."""
    dim = table_VD.shape[1]
    cuts = torch.tensor([*sorted({0, dim // 8, dim // 4, dim // 2}), dim])
    energies_VE = torch.zeros(len(table_VD), len(cuts) - 1)
    for field, chunk in field_chunks(sample.field_V):
        energies_VE[chunk] = tail_energies(table_VD[chunk], sample.curvature_FDD[field].float(), cuts)[:, :-1]
    return energies_VE


def descend(
    counts_V: Tensor,
    field_V: Tensor,
    energies_VE: Tensor,
    costs_VL1: Tensor,
    size_L1: Tensor,
    settings: SearchParams,
    seed: int,
    log: Callable[[str], None],
    single: bool = False,
) -> Descent:
    """Train the twins down the ladder.

    Args:
        energies_VE: what they read of each trained row beside its frequency (`energy_profiles`). costs_VL1: as in `Front`.
        single: one MLP in place of the twins.
    """
    torch.manual_seed(seed)
    grouped = group_by_frequency_and_energy(counts_V, field_V, energies_VE, settings.frequency_groups, settings.energy_groups)
    twins = OrderedTwins(
        counts_V,
        int(size_L1[-1]),
        field_V,
        hidden=settings.hidden,
        temperature=settings.temperature,
        single=single,
        grouped=grouped,
    )
    costs_GO = group_costs(grouped, costs_VL1, size_L1)
    unit = float(costs_GO[:, 0].sum().clamp(min=1e-12))  # what it costs to cut everything: makes pressures comparable
    optimizer = torch.optim.Adam(twins.parameters(), lr=settings.learning_rate)
    pressure = Pressure(twins, settings.ladder, settings.steps, log)
    for _ in range(settings.steps * len(settings.ladder)):
        damage = _between_sizes(costs_GO, twins.wanted_sizes_G()).sum() / unit
        optimizer.zero_grad(set_to_none=True)
        (damage + pressure.term()).backward()
        optimizer.step()
    return pressure.descent()


def group_costs(grouped: Groups, costs_VL1: Tensor, size_L1: Tensor) -> Tensor:
    """What cutting all rows of a group to a size costs, at every size: float32 [G, D + 1], linear between levels."""
    costs_GL1 = torch.zeros(len(grouped.values_G), len(size_L1)).index_add_(0, grouped.group_V, costs_VL1)
    size_O = torch.arange(int(size_L1[-1]) + 1)
    level_O = torch.searchsorted(size_L1, size_O, right=True).clamp(max=len(size_L1) - 1) - 1
    ratio_O = (size_O - size_L1[level_O]) / (size_L1[level_O + 1] - size_L1[level_O])
    return torch.lerp(costs_GL1[:, level_O], costs_GL1[:, level_O + 1], ratio_O)


def _between_sizes(costs_GO: Tensor, wanted_G: Tensor) -> Tensor:
    """C[g, mu_g] of real-valued sizes, [G]: linear between the sizes on either side."""
    lower_G1 = wanted_G.detach().floor().long().clamp(max=costs_GO.shape[1] - 2).unsqueeze(1)
    lower_cost_G, upper_cost_G = (costs_GO.gather(1, size_G1).squeeze(1) for size_G1 in (lower_G1, lower_G1 + 1))
    return torch.lerp(lower_cost_G, upper_cost_G, wanted_G - lower_G1.squeeze(1))


class Controller:
    """Proportional-integral: pressure from the error of the log kept share; negative, that is a pull, where too little is kept."""

    def __init__(self) -> None:
        self.integral = 0.0

    def pressure(self, error: float) -> float:
        """The pressure after one more step whose log kept share is over the target's by `error`."""
        self.integral = max(0.0, self.integral + INTEGRAL * error)
        return PROPORTIONAL * error + self.integral


class Pressure:
    """The pressure on the kept share, step by step, while its target falls through the rungs of a ladder.

    Args:
        steps: of a rung; the last one lasts for as long as there are steps.
        log: takes one line a rung.
    """

    def __init__(self, twins: OrderedTwins, ladder: Sequence[float], steps: int, log: Callable[[str], None]) -> None:
        self.twins, self.ladder, self.steps, self.log = twins, ladder, steps, log
        self.controller, self.step, self.wanted_RG = Controller(), 0, list[Tensor]()
        self.start = kept_share(twins)

    def term(self) -> Tensor:
        """The next step's term of the loss: pressure * log(kept share)."""
        rung = min(self.step // self.steps, len(self.ladder) - 1)
        if rung > len(self.wanted_RG):
            self._end_rung()
        kept = (self.twins.wanted_sizes_G() * self.twins.values_G).sum() / (self.twins.values_G.sum() * self.twins.dim)
        pressure = self.controller.pressure(math.log(max(kept.item(), 1e-9) / self._target(rung)))
        self.step += 1
        return pressure * torch.log(kept)

    def state(self) -> dict[str, Any]:
        """Where it stands, JSON-able; the rest is the twins' weights."""
        return {
            "step": self.step,
            "start": self.start,
            "integral": self.controller.integral,
            "wanted": [wanted_G.tolist() for wanted_G in self.wanted_RG],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.step, self.start, self.controller.integral = state["step"], state["start"], state["integral"]
        self.wanted_RG = [torch.tensor(wanted) for wanted in state["wanted"]]

    def descent(self) -> Descent:
        """What the twins wanted at the end of each rung, after the last step."""
        self._end_rung()
        return Descent(torch.tensor(self.ladder), torch.stack(self.wanted_RG), self.twins.group_V.cpu(), self.twins.values_G.cpu())

    def _target(self, rung: int) -> float:
        before = self.ladder[rung - 1] if rung else self.start
        reached = min(1.0, (self.step - rung * self.steps + 1) / (RAMP * self.steps))
        return float(before ** (1 - reached) * self.ladder[rung] ** reached)

    def _end_rung(self) -> None:
        sizes_G = self.twins.group_sizes()[self.twins.values_G > 0]
        self.log(f"rung {100 * self.ladder[len(self.wanted_RG)]:g}%: kept {kept_share(self.twins):.1%}, {len(sizes_G.unique())} sizes")
        self.wanted_RG.append(self.twins.wanted_sizes_G().detach().cpu().clone())


def kept_share(twins: AdaptivelyMaskedTwins) -> float:
    """Share of the table's numbers that the chosen sizes keep."""
    return float((twins.group_sizes() * twins.values_G).sum() / (twins.values_G.sum() * twins.dim))
