"""Day after day: every model is trained at the end of a day on all events so far, and scored on those of the next.

fixed_cold     fresh weights every day
fixed_warm     from yesterday's state, by value
control_cold   the control made of the cold one, control_warm of the warm one: fine-tuned as what is cut from it, at full width
packed_cold    cut from the day's fixed model, sizes derived anew
packed_warm    the same from the warm one
packed_frozen  cut from the warm model to the first day's sizes; a value that came later takes the size that the first day's values of
               its field and frequency had
stale          the first day's fixed model, never trained again

Steps are told by looks at validation, `PORTIONS` an epoch: how many steps each training took, and after how many the warm one had
reached the cold one's best validation AUC.

Shapes: V rows of the table, K rows of the first day's table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amtl.data.batches import Batch, batch_spans, encode, permutation
from amtl.data.vocabulary import Vocabulary
from amtl.model.ctr_model import CTRModel
from amtl.packing.allocation import allocate
from amtl.packing.cut import Cut, finetuned, served
from amtl.packing.layout import Layout
from amtl.params import Params
from amtl.release.evaluate import score
from amtl.sizing.sizes import Found, find_sizes
from amtl.training.control import make_control
from amtl.training.loop import predict
from amtl.training.train import Trained, train
from amtl.training.tuning import Tuning, tuning_for
from benchmarks import settings
from benchmarks.results.experiment import Experiment, Result
from benchmarks.results.measure import CPU, Place
from benchmarks.results.worlds import WORLDS, Day, World, day_of

SAVED, PRECISION, SELECTOR = 0.95, "int8", "curvature"
PORTIONS = 8


@dataclass(frozen=True)
class Portions:
    """Rows whose epochs come in `PORTIONS` parts, so that validation is looked at as often; see `amtl.data.dataset.Rows`."""

    rows: Batch

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Tensor:
        """Labels of all rows."""
        return self.rows.labels

    @property
    def digest(self) -> str:
        """Of the rows."""
        return self.rows.digest

    def shuffled(self, size: int, seed: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """A part of an epoch: the first `PORTIONS` parts are the first whole one."""
        order = permutation(len(self), seed, epoch // PORTIONS)
        for start, stop in list(batch_spans(len(self), size))[epoch % PORTIONS :: PORTIONS][skip:]:
            yield self.rows.take(order[start:stop])

    def in_order(self, size: int) -> Iterator[Batch]:
        """All rows in their order."""
        return self.rows.in_order(size)

    def newest(self, rows: int) -> Batch:
        """The last rows."""
        return self.rows.newest(rows)


@dataclass(frozen=True)
class FirstDay:
    """What stays of the first day: its fixed model, and the sizes that its rows got."""

    day: Day
    model: CTRModel
    sizes_K: Tensor


@dataclass(frozen=True)
class Lab:
    """What every day needs.

    Attributes:
        whole: settings in epochs. fine: the same in portions of epochs.
        folder: for states; it goes when the run ends.
    """

    whole: Params
    fine: Params
    folder: Path
    place: Place


@dataclass(frozen=True)
class Searched:
    """A day's model, ready to be cut: the rotated control, what its rows are worth, and the fine-tuning."""

    found: Found
    tuning: Tuning

    @classmethod
    def of(cls, day: Day, made: Trained, lab: Lab) -> Searched:
        """From the day's fixed model, which stays as it is."""
        tuning = tuning_for(lab.whole, day.vocabulary, day.train, day.validation, silent)
        control = make_control(made.model, tuning).model
        return cls(find_sizes(lab.whole, day.vocabulary, control, day.train, day.validation, None, silent), tuning)

    def layout(self) -> Layout:
        """Sizes from the day's own front, at the share of bytes."""
        model, front = self.found.model, self.found.front
        assert front is not None
        table_VD, stored = model.embedding.weight.detach(), model.embedder.basis_FDD is not None
        return allocate(front, SELECTOR, table_VD, round((1 - SAVED) * 4 * table_VD.numel()), PRECISION, stored)

    def packed(self, layout: Layout, rows: Batch) -> dict[str, Any]:
        """The model cut to a layout, fine-tuned, coded and read back: its figures on rows, and its bytes."""
        made = finetuned(Cut(SELECTOR, self.found.model, layout, {}), self.found.model, self.tuning)
        return {**scored(served(made.model, layout), rows), "bytes": made.bytes}


def measure_days(experiment: Experiment, place: Place) -> Result:
    """Every model of the table above on every day."""
    world = WORLDS[experiment.data](place.data, experiment.seed, experiment.choice.get("share", 1.0))
    key = {**experiment.key, "search": {**experiment.key["search"], "sizes": SELECTOR}}
    whole = settings.params_of(key, world.events, experiment.seed)
    sections = {"epochs": whole.train.epochs * PORTIONS, "patience": whole.train.patience * PORTIONS}
    fine = whole.model_copy(update={"train": whole.train.model_copy(update=sections)})
    with tempfile.TemporaryDirectory() as folder:
        days = list(islice(lived(world, Lab(whole, fine, Path(folder), place)), experiment.choice.get("days")))
    return {"days": days, "saved": SAVED, "precision": PRECISION}


def lived(world: World, lab: Lab) -> Iterator[dict[str, Any]]:
    """The figures of each day but the first, which only lays the ground."""
    vocabulary, first = Vocabulary.empty(world.events), None
    for number in range(len(world.days) - 1):
        lab.place.log(f"{world.events.name}, day {number}")
        day = day_of(world, number, vocabulary)
        cold = trained(day, None, lab)
        warm = trained(day, lab.folder / "state", lab) if first else cold
        warm.write(lab.folder / "state")
        vocabulary = day.vocabulary
        if first is None:
            first = FirstDay(day, warm.model, Searched.of(day, warm, lab).layout().sizes_V)
        else:
            yield {"day": number, "rows": len(day.train), "table_rows": vocabulary.rows, **figures(day, cold, warm, first, world, lab)}


def trained(day: Day, state: Path | None, lab: Lab) -> Trained:
    """The day's fixed model, looked at in portions of epochs."""
    return train(lab.fine, day.vocabulary, Portions(day.train), day.validation, state, None, silent)


def figures(day: Day, cold: Trained, warm: Trained, first: FirstDay, world: World, lab: Lab) -> dict[str, Any]:
    """Next-day figures of all models."""
    steps = -(-len(day.train) // lab.whole.train.batch_size) / PORTIONS
    from_cold, from_warm = Searched.of(day, cold, lab), Searched.of(day, warm, lab)
    fields_V, dim = torch.from_numpy(day.vocabulary.fields_V), lab.whole.train.dim
    frozen = Layout.of_sizes(frozen_sizes(day, first), fields_V, dim, PRECISION)
    return {
        "fixed_cold": scored(cold.model, day.next_day),
        "fixed_warm": scored(warm.model, day.next_day),
        "control_cold": scored(from_cold.found.model, day.next_day),
        "control_warm": scored(from_warm.found.model, day.next_day),
        "packed_cold": from_cold.packed(from_cold.layout(), day.next_day),
        "packed_warm": from_warm.packed(from_warm.layout(), day.next_day),
        "packed_frozen": from_warm.packed(frozen, day.next_day),
        "stale": scored(first.model, encoded_then(world, day, first)),
        "steps": {
            "cold": steps_to_best(cold, steps),
            "warm": steps_to_best(warm, steps),
            "warm_to_cold": steps_to_reach(warm, cold, steps),
        },
    }


def encoded_then(world: World, day: Day, first: FirstDay) -> Batch:
    """The next day's events as the first day's model knows them."""
    return encode(world.days[day.number + 1], world.events, first.day.vocabulary.lookup, first.day.scaling)


def silent(line: str) -> None:
    """Takes a line of progress that nobody waits for."""


def frozen_sizes(day: Day, first: FirstDay) -> Tensor:
    """The first day's size of every value that it knew; for the others that of its values of like frequency, int64 [V]."""
    then, now = first.day.vocabulary, day.vocabulary
    sizes = torch.empty(now.rows, dtype=torch.int64)
    for name, start in now.offsets.items():
        old = first.sizes_K[then.offsets[name] : then.offsets[name] + then.sizes[name]]
        counts = then.counts_V[then.offsets[name] : then.offsets[name] + then.sizes[name]]
        new_counts = now.counts_V[start + then.sizes[name] : start + now.sizes[name]]
        sizes[start : start + now.sizes[name]] = torch.cat([old, like_frequent(counts, old, new_counts)])
    return sizes


def like_frequent(counts_K: np.ndarray, sizes_K: Tensor, wanted_N: np.ndarray) -> Tensor:
    """For each wanted count the rounded mean size of the values whose count is nearest on a logarithmic scale, int64 [N]."""
    steps_K, mean_size = np.unique(np.log1p(counts_K), return_inverse=True)
    means = np.bincount(mean_size, weights=sizes_K.numpy()) / np.bincount(mean_size)
    nearest_N = np.abs(np.log1p(wanted_N)[:, None] - steps_K[None, :]).argmin(1)
    return torch.from_numpy(means[nearest_N].round().astype(np.int64))


def scored(model: CTRModel, rows: Batch) -> dict[str, float]:
    """AUC and log loss."""
    return score(rows.labels.numpy(), predict(model, rows, CPU))


def steps_to_best(model: Trained, steps: float) -> int:
    """Steps up to the best look at validation."""
    best = max(model.report["history"], key=lambda look: look["score"])
    return round(best["epoch"] * steps)


def steps_to_reach(warm: Trained, cold: Trained, steps: float) -> int | None:
    """Steps after which the warm training's validation AUC was the cold one's at its best; None if it never was."""
    target = max(cold.report["history"], key=lambda look: look["score"])["auc"]
    return next((round(look["epoch"] * steps) for look in warm.report["history"] if look["auc"] >= target), None)
