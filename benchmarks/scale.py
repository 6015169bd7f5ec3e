"""Search and packing of a table of millions of rows: seconds and peak memory of each step.

    python -m benchmarks.scale [--rows 20000000] --out RESULTS.json

Three fields hold 60, 30 and 10% of the rows, D = 64; rows are random with a falling spectrum, their frequencies follow Zipf's law with
exponent 1, scattered over the rows. The search reads 400,000 events with an mlp 256-128. Memory is the process's peak so far,
interpreter and table included. The last step looks rows up in the packed table and compares them with the cut ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from amtl.data.batches import Batch
from amtl.files import publish_json
from amtl.model.ctr_model import CTRModel, ModelConfig, build
from amtl.packing.allocation import allocate
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import PackedEmbedding, pack
from amtl.params import SearchParams
from amtl.sizing.basis import balanced_basis, rotate
from amtl.sizing.costs import Sample, sample_effects
from amtl.sizing.front import Front
from amtl.sizing.levels import size_levels
from amtl.sizing.pricing import BASIS_ROWS, front_of, twins_worth
from amtl.sizing.twins import descend, energy_profiles
from amtl.stages import say
from benchmarks.machine import describe_machine, memory_bytes

DIM, SHARES, EVENTS, HISTORY, LOOKUPS = 64, (0.6, 0.3, 0.1), 400_000, 100_000_000, 100_000
SCATTER = 2_654_435_761  # prime: multiplication by it permutes the rows of a field
CPU = torch.device("cpu")

Made = TypeVar("Made")


class Steps:
    """Seconds and memory of the steps so far."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []

    def run(self, name: str, work: Callable[..., Made], *arguments: Any) -> Made:
        """Do a step and note what it took."""
        start, cpu = time.perf_counter(), time.process_time()
        made = work(*arguments)
        figures = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu, "peak_bytes": memory_bytes("VmHWM")}
        self.results.append({"step": name, **figures})
        say(f"{name}: {figures['wall_s']:.1f} s, peak {figures['peak_bytes'] / 1e9:.1f} GB")
        return made


def fields_of(rows: int) -> Tensor:
    """Field of each row, int64 [V]."""
    sizes = [int(rows * share) for share in SHARES[:-1]]
    return torch.arange(len(SHARES)).repeat_interleave(torch.tensor([*sizes, rows - sum(sizes)]))


def synthetic_events(field_V: Tensor) -> Batch:
    """Events whose values follow Zipf's law, labels at random."""
    generator, first, columns = torch.Generator().manual_seed(0), 0, []
    for size in torch.bincount(field_V).tolist():
        rank_N = torch.exp(torch.rand(EVENTS, generator=generator, dtype=torch.float64) * torch.tensor(size).log()).long() - 1
        columns.append(first + rank_N * SCATTER % size)
        first += size
    return Batch(torch.stack(columns, dim=1), (), torch.zeros(EVENTS, 0), torch.randint(2, (EVENTS,), generator=generator).float())


def occurrences(field_V: Tensor) -> Tensor:
    """How often a history of that law shows each row, float32 [V]."""
    parts = []
    for size in torch.bincount(field_V).tolist():
        shown_N = torch.empty(size)
        shown_N[torch.arange(size) * SCATTER % size] = HISTORY / (torch.arange(1, size + 1) * torch.tensor(size).log())
        parts.append(shown_N)
    return torch.cat(parts)


def synthetic_model(rows: int) -> CTRModel:
    """Random rows whose dimensions fade, and a random network that reads them."""
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="mlp", dim=DIM, fields=len(SHARES), numbers=0, hidden=(256, 128), dropout=0.0, batch_norm=False, cross_layers=1
    )
    model = build(config, rows, 1.0)
    with torch.no_grad():
        model.embedding.weight *= torch.arange(1, DIM + 1).pow(-1.0)
    return model


def rotated(model: CTRModel, events: Batch, field_V: Tensor, shown_V: Tensor) -> None:
    """The model's table in its balanced basis."""
    curvature_FDD = sample_effects(model, events, field_V, torch.tensor([0, DIM]), CPU, BASIS_ROWS, 0).curvature_FDD
    rotate(model, balanced_basis(model.embedding.weight.detach(), shown_V, field_V, curvature_FDD), field_V)


def with_twins(front: Front, sample: Sample, table_VD: Tensor, shown_V: Tensor) -> Front:
    """The front and what the twins make of it."""
    energies_VE = energy_profiles(sample, table_VD)
    descent = descend(shown_V, front.field_V, energies_VE, front.costs_VL1, front.size_L1, SearchParams(), 0, say)
    return front.with_worth("twins", twins_worth(descent, front))


def looked_up(table_VD: Tensor, layout: Layout, packed: dict[str, Tensor]) -> float:
    """Largest difference of looked-up rows from the cut ones, over the largest number in them."""
    _, packed_V = layout.order()
    rows_M = torch.randint(len(table_VD), (LOOKUPS,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        read_MD = PackedEmbedding(packed, layout.dim)(packed_V[rows_M])
    cut_MD = table_VD[rows_M] * (torch.arange(DIM) < layout.sizes_V[rows_M].unsqueeze(1))
    return float((read_MD - cut_MD).abs().max() / cut_MD.abs().max())


def measure(rows: int, share: float) -> dict[str, Any]:
    """All steps from a trained table to a packed one of `share` of its bytes."""
    steps, field_V = Steps(), fields_of(rows)
    model = steps.run("a table", synthetic_model, rows)
    events, shown_V = synthetic_events(field_V), occurrences(field_V)
    steps.run("rotate", rotated, model, events, field_V, shown_V)
    table_VD, budget = model.embedding.weight.detach(), int(share * rows * DIM * 4)
    sample = steps.run("read events", sample_effects, model, events, field_V, size_levels(DIM), CPU, EVENTS, 0)
    front = steps.run("price rows", front_of, sample, table_VD, shown_V, HISTORY)
    front = steps.run("twins", with_twins, front, sample, table_VD, shown_V)
    layouts = {}
    for selector, precision in (("curvature", "int8"), ("twins", "int8"), ("curvature", "mixed")):
        name = f"allocate by {selector}, {precision}"
        layouts[name] = steps.run(name, allocate, front, selector, table_VD, budget, precision, False)
    layout = layouts["allocate by curvature, int8"]
    packed = steps.run("pack", pack, table_VD, layout)
    error = steps.run(f"look {LOOKUPS:,} rows up", looked_up, table_VD, layout, packed)
    made = {name: {"bytes": layout.bytes(False), "mean_size": float(layout.sizes_V.double().mean())} for name, layout in layouts.items()}
    found = {"layouts": made, "lookups": LOOKUPS, "largest_relative_error": error}
    return {"rows": rows, "budget_bytes": budget, "steps": steps.results, **found}


def main() -> None:
    """Run what the command line asks for and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--share", type=float, default=0.02, help="budget as a share of the dense fp32 table")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    publish_json(options.out, {"machine": describe_machine(), "results": measure(options.rows, options.share)})


if __name__ == "__main__":
    main()
