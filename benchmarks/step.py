"""A training step with the layer beside the same step without it, interleaved in one process.

    python -m benchmarks.step [--device cuda] [--bf16] [--fields 26] [--buckets 64] --out RESULTS.json

Synthetic Zipf ids, 26 fields, 1M rows of width 64, batch 4096, MLP 256-128, the lazy row-wise optimizer of training. On the CPU a
repeat is measured in process CPU seconds, which other work on the machine does not inflate; on CUDA by events.
The floor of a figure is what the plain step takes in the same repeat: read the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amtl.data.batches import Batch
from amtl.files import publish_json
from amtl.model.ctr_model import CTRModel, ModelConfig, build
from amtl.params import SearchParams
from amtl.sizing.paper import put_layer_behind
from amtl.stages import say
from amtl.training.loop import FitSettings, Trainer
from benchmarks.machine import describe_machine

DIM, BATCH, STEPS, REPEATS = 64, 4096, 4, 15


def zipf_batch(rows_F: list[int], generator: np.random.Generator) -> Batch:
    """One batch of Zipf(1.05) ids, table-global."""
    offsets = np.concatenate([[0], np.cumsum(rows_F)[:-1]])
    draws = [np.minimum(generator.zipf(1.05, BATCH) - 1, rows - 1) + first for rows, first in zip(rows_F, offsets, strict=True)]
    ids_BF = torch.from_numpy(np.stack(draws, axis=1))
    labels_B = torch.from_numpy(generator.integers(0, 2, BATCH).astype(np.float32))
    return Batch(ids_BF, (), torch.zeros(BATCH, 0), labels_B)


def trainers(fields: int, rows: int, buckets: int, device: torch.device, bf16: bool) -> tuple[Trainer, Trainer, list[Batch]]:
    """A plain trainer, one with the layer, and the batches that both run on."""
    generator = np.random.default_rng(0)
    rows_F = [rows // fields] * fields
    batches = [zipf_batch(rows_F, generator).to(device) for _ in range(STEPS)]
    counts_V = torch.bincount(torch.cat([batch.ids_BF.flatten().cpu() for batch in batches]), minlength=sum(rows_F))
    field_V = torch.arange(fields).repeat_interleave(rows // fields)
    settings = FitSettings(epochs=1, patience=1, batch_size=BATCH, learning_rate=1e-3, seed=0, bf16=bf16)
    made = []
    for with_layer in (False, True):
        torch.manual_seed(0)
        model: CTRModel = build(
            ModelConfig(
                backbone="mlp", dim=DIM, fields=fields, numbers=0, hidden=(256, 128), dropout=0.0, batch_norm=False, cross_layers=3
            ),
            sum(rows_F),
            0.01,
        )
        if with_layer:
            put_layer_behind(model, counts_V, field_V, SearchParams(buckets=buckets), seed=0)
        made.append(Trainer(model, settings, device, torch.zeros(fields, dtype=torch.int64)))
    return made[0], made[1], batches


def seconds(trainer: Trainer, batches: list[Batch], device: torch.device) -> float:
    """Seconds of one pass over the batches: of process time on the CPU, of the clock on a synchronised GPU."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = clock()
    for batch in batches:
        trainer.step(batch)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def measure(fields: int, rows: int, buckets: int, device: torch.device, bf16: bool) -> dict[str, Any]:
    """Median milliseconds a step of both, and the median of the ratios repeat by repeat."""
    plain, layered, batches = trainers(fields, rows, buckets, device, bf16)
    pairs = [(seconds(plain, batches, device), seconds(layered, batches, device)) for _ in range(REPEATS + 2)][2:]
    ratios = sorted(with_layer / without for without, with_layer in pairs)
    return {
        "fields": fields,
        "rows": rows,
        "buckets": buckets,
        "bf16": plain.bf16,
        "plain_ms": statistics.median(without for without, _ in pairs) * 1e3 / STEPS,
        "layer_ms": statistics.median(with_layer for _, with_layer in pairs) * 1e3 / STEPS,
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
    }


def main() -> None:
    """Run what the command line asks for and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    results = []
    for fields, buckets, bf16 in ((26, 64, False), (26, 32, False), (10, 64, False), (26, 64, True)):
        results.append(measure(fields, options.rows, buckets, device, bf16))
        say(str(results[-1]))
        publish_json(options.out, {"machine": describe_machine(), "results": results})


if __name__ == "__main__":
    main()
