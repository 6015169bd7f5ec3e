"""docs/benchmarks.md from the raw results in benchmarks/results.

python -m benchmarks.table
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from amtl.files import publish_text, read_json

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Made by `python -m benchmarks.table` from the raw results in `benchmarks/results`; each section names the script that measures it.
`make bench` measures the step and the pipeline again; the others take minutes to hours and are run by name. AUC and log loss at each size, beside every peer and on real data: [results](results.md).
"""


def page(results: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    sections = [HEAD]
    for name, section in (
        ("step", _step),
        ("pipeline", _pipeline),
        ("loading", _loading),
        ("ingest", _ingest),
        ("counting", _counting),
        ("validation", _validation),
        ("scale", _scale),
    ):
        sections += [section(results[file], file) for file in sorted(results) if file.split("-")[0] == name]
    return "\n".join(sections)


def _step(raw: dict[str, Any], file: str) -> str:
    rows = [
        f"| {run['fields']} | {run['buckets']} | {'bf16' if run['bf16'] else 'fp32'} | {run['plain_ms']:.0f} | {run['layer_ms']:.0f} | "
        f"**{run['ratio']:.2f}** ({run['ratio_quartiles'][0]:.2f}-{run['ratio_quartiles'][1]:.2f}) |"
        for run in raw["results"]
    ]
    return f"""## A training step with the layer beside the same step without it

`python -m benchmarks.step --out FILE`, {_machine(raw)}, one thread. Synthetic Zipf ids, 1M rows, D = 64, batch 4096, mlp 256-128, both trainers interleaved in one process;
CPU milliseconds a step (medians of 15 repeats of 4 steps), ratio repeat by repeat with its quartiles. Asked: at most 1.10 on the CPU.

| fields | groups a field | | plain ms | with the layer ms | ratio |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Both trainers look each different row of a batch up once, so the layer masks about a fifth of what it would mask otherwise; without that the
ratio was 1.32 (26 fields, 64 groups, fp32).
"""


def _pipeline(raw: dict[str, Any], file: str) -> str:
    run = raw["results"]
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in run["stages_s"].items())
    metrics = run["metrics"]
    return f"""## The pipeline on the bundled sample

`python -m benchmarks.pipeline --out FILE`, {_machine(raw)}.

| what | wall seconds | asked |
|---|---|---|
| first `amtl retrain`, cold start to registered champion | {run["first_retrain_s"]:.0f} | 240 |
| no-op `dvc repro` (median of 3) | {run["noop_repro_s"]:.1f} | 3 |
| no-op `amtl retrain` (median of 3) | {run["noop_retrain_s"]:.1f} | 30 |

By stage: {stages}; the rest is Prefect's temporary server, the registry and the report. Result: AUC {metrics["auc"]:.4f}, fixed width
{metrics["auc_fixed"]:.4f}, one-hot logistic regression {metrics["auc_logistic"]:.4f}, {metrics["saved"]:.1%} of the table's bytes saved, mean size
{metrics["mean_size"]:.2f} of 16.
"""


def _loading(raw: dict[str, Any], file: str) -> str:
    rows = [
        f"| {run['fields']} | {run['rows']:,} | {run['warm']['cpu']:.1f} ({run['warm']['wall']:.1f}) | {run['cold']['cpu']:.1f} ({run['cold']['wall']:.1f}) | "
        f"{run['floor']['cpu']:.0f} | {run['parquet']['cpu']:.0f} | {run['step']['cpu']:.3f} | **{run['warm']['cpu'] / run['step']['cpu']:.0f}** | "
        f"{run['encode']['cpu']:.2f} | {run['bytes_a_row']:.0f} |"
        for run in raw["results"]
    ]
    return f"""## The loader beside the training step's appetite

`python -m benchmarks.loading --out FILE`, {_machine(raw)}. Million rows a CPU second (wall second), medians of 5 interleaved repeats: encoded rows on disk, shuffled out of core, in
batches of 4096; *dropped* is after the file's pages were dropped from the page cache. Bare reads of the same row groups, unused: of the loader's own Arrow file,
and of Parquet with a column a field. The step is the real trainer's, D = 64, mlp 256-128, one thread. Asked: the loader gives at least 10 times
what the step takes. Encoding (raw Parquet to rows of the table, once for a vocabulary) and the file's bytes are beside.

| fields | rows | shuffled | shuffled, dropped | bare Arrow | bare Parquet | step | loader / step | encoding | bytes a row |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _ingest(raw: dict[str, Any], file: str) -> str:
    runs = {(run["bytes"], run["way"]): run for run in raw["results"]}
    names = {"one_file": "polars: scan, sink into one file", "by_day": "polars: times parsed, a folder a day", "amtl": "**amtl ingest**"}
    rows = []
    for size, way in runs:
        run, peer = runs[size, way], runs[size, "by_day"]
        rows.append(
            f"| {size / 1e9:.1f} | {names[way]} | {run['rows'] / run['wall_s'] / 1e6:.2f} | {peer['wall_s'] / run['wall_s']:.2f} | "
            f"{run['cpu_s'] / peer['cpu_s']:.2f} | {run['peak_anonymous_bytes'] / 1e6:.0f} | {run['peak_bytes'] / 1e6:.0f} |"
        )
    return f"""## Ingest of a large CSV

`python -m benchmarks.ingest --out FILE`, {_machine(raw)}. Seven columns (a time, a label, integer and text ids, a number), a process for each run. amtl also counts the values of every line
(polars fills short lines up with nulls) and flushes to disk. Rates and CPU seconds are beside polars' scan, parse and sink by day. Asked: rows/s beside polars' own; memory that does
not grow with the file (without the pages of files that are mapped, which the system takes back when it needs them).

| GB | what | M rows/s | rate beside polars by day | CPU beside it | peak memory MB | with mapped pages MB |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _counting(raw: dict[str, Any], file: str) -> str:
    rows, results = [], raw["results"]
    for values, layout in dict.fromkeys((run["values"], run["layout"]) for run in results["counting"]):
        runs = [run for run in results["counting"] if (run["values"], run["layout"]) == (values, layout)]
        floors = [run for run in runs if run["task"] == "floor"]
        wall, cpu = (statistics.mean(run[figure] for run in floors) for figure in ("wall_s", "cpu_s"))
        for task, name in (("floor", "bare scan"), ("amtl", "**amtl**"), ("split", "amtl, rows held out by hash"), ("duckdb", "DuckDB")):
            for run in [run for run in runs if run["task"] == task][:1]:
                ratios = f"{run['wall_s'] / wall:.1f} | {run['cpu_s'] / cpu:.1f}"
                rows.append(
                    f"| {values}, {layout} | {name} | {run['wall_s']:.1f} | {run['cpu_s']:.1f} | {ratios} | {run['peak_mb']:,.0f} |"
                )
    days = [
        f"| {run['days']} | {run['rows']:,} | {run['vocabulary']:,} | {run['wall_s']:.2f} | {run['cpu_s']:.2f} |"
        for run in results["another_day"]
    ]
    return f"""## Counting

`python -m benchmarks.counting --out FILE`, {_machine(raw)}. {raw["rows"]:,} rows of 10 columns whose values follow a power law (exponent 1.05) over 100 to 5M values, integers or
text of 8 (string) or 20 (long-string) characters, Parquet with zstd in the page cache, each run in a process of its own. The bare scan decodes every value and sums
the hashes (mean of two runs); amtl and DuckDB count, merge and write. amtl sorts integers, and text of up to 8 bytes as integers; longer text it groups by a hash table,
which costs more than 4 scans by itself. Of 20 partitions amtl writes the counts of each and sums them in blocks, about another scan: DuckDB keeps nothing for the next day.
Asked: at most 4 times the scan. The peak includes the interpreter, its imports and mapped pages.

| values | | wall s | CPU s | wall, times the scan | CPU, times the scan | peak MB |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

One more day, the whole of `count` (the day, the day that the end of training cuts, the blocks it completes, the sum over all, the vocabulary); medians of
three days. The days draw from the same values, so that the vocabularies are about equal. Asked: the same at 10 days and at 100.

| days before | rows a day | table rows | wall s | CPU s |
|---|---|---|---|---|
{chr(10).join(days)}
"""


def _validation(raw: dict[str, Any], file: str) -> str:
    names = {"by_hand": "one polars pass by hand", "profile": "the profile", "validate": "**validation of a new day**"}
    runs = {way: [run for run in raw["results"] if run["way"] == way] for way in names}
    medians = {way: {key: statistics.median(run[key] for run in found) for key in ("wall_s", "cpu_s")} for way, found in runs.items()}
    rows = [
        f"| {names[way]} | {found['wall_s']:.1f} | {found['cpu_s']:.1f} | {found['wall_s'] / medians['by_hand']['wall_s']:.2f} | "
        f"{found['cpu_s'] / medians['by_hand']['cpu_s']:.2f} | {max(run['peak_bytes'] for run in runs[way]) / 1e9:.2f} |"
        for way, found in medians.items()
    ]
    return f"""## Validation of one large day

`python -m benchmarks.validation --out FILE`, {_machine(raw)}. {raw["results"][0]["rows"]:,} rows of 8 columns in one file, each run in a process of its own, medians. The pass by hand computes
the same figures in one `select` over the streamed file (nulls, extremes, every rule of what counts, signs of broken decoding, repeats, samples of values); it is given the samples'
thresholds, which validation finds while it reads. Validation is the profile, Great Expectations on it and on 10,000 rows (about 5 s of CPU for its import and its pages, whatever
the day's size), the documents and the kept verdict. Asked: at most 1.5 times the pass, and less than 2.5 GB. Peaks include mapped pages.

| | wall s | CPU s | wall, times the pass | CPU, times the pass | peak GB |
|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def _scale(raw: dict[str, Any], file: str) -> str:
    run = raw["results"]
    rows = [f"| {step['step']} | {step['wall_s']:.0f} | {step['cpu_s']:.0f} | {step['peak_bytes'] / 1e9:.1f} |" for step in run["steps"]]
    total = sum(step["wall_s"] for step in run["steps"]) / 60
    made = "; ".join(
        f"{name.removeprefix('allocate ')}: {layout['bytes']:,} bytes, mean size {layout['mean_size']:.2f}"
        for name, layout in run["layouts"].items()
    )
    return f"""## A table of {run["rows"]:,} rows

`python -m benchmarks.scale --out FILE`, {_machine(raw)}. D = 64, three fields, random rows with a falling spectrum, frequencies by Zipf's law; 400,000 events are read with an mlp
256-128. From the trained table to the packed one of at most {run["budget_bytes"]:,} bytes: {total:.0f} minutes. Asked: minutes, and less than 24 GiB. Peaks are the process's so far, table included.

| step | wall s | CPU s | peak GB |
|---|---|---|---|
{chr(10).join(rows)}

Tables {made}. Of {run["lookups"]:,} rows looked up in the packed table, the largest difference from the cut rows is {run["largest_relative_error"]:.1e} of their largest number.
"""


def _machine(raw: dict[str, Any]) -> str:
    machine = raw["machine"]
    gpu = "" if machine["gpu"] == "none" else f", {machine['gpu']}"
    return f"{machine['date']}, {machine['processor']}, {machine['cores']} cores (shared){gpu}, torch {machine['torch']}"


def main() -> None:
    """Write the page."""
    results = {path.stem: read_json(path) for path in RESULTS.glob("*.json")}
    publish_text(PAGE, page(results))


if __name__ == "__main__":
    main()
