"""docs/results.md and its pictures: a pure function of the plan and the finished runs. The prose is in page.md.j2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from amtl.files import publish_text
from benchmarks import settings
from benchmarks.results.drawing import front
from benchmarks.results.experiment import Result, Store
from benchmarks.results.plan import CANDIDATES, EVERY_PEER, NEAR, SHALLOW, TOLERANCE, Find, Scope, plan
from benchmarks.results.sections import baselines, days, learning, no_loss, paper, peers
from benchmarks.results.tables import NOISE, listed, percent, table

TEMPLATE = Path(__file__).parent / "page.md.j2"


def write(scope: Scope, store: Store, folder: Path) -> Path:
    """Write the page and its pictures into a folder; returns the page."""
    for name in scope.sets:
        if picture := front(scope, name, store.read):
            publish_text(folder / "results" / f"front-{name}.svg", picture + "\n")
    path = folder / "results.md"
    publish_text(path, text(scope, store.read))
    return path


def text(scope: Scope, find: Find) -> str:
    """The whole page. The same runs give the same text."""
    from jinja2 import Environment, StrictUndefined

    template = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    rendered = template.render(
        quick=scope.quick,
        seeds=scope.seeds,
        tolerance=TOLERANCE,
        noise=NOISE,
        near=NEAR,
        every_peer=listed(EVERY_PEER),
        shallow=percent(SHALLOW, 0),
        candidates=listed(CANDIDATES),
        head=_head(scope, find),
        no_loss=no_loss.values(scope, find),
        peers=peers.values(scope, find),
        baselines=baselines.values(scope, find),
        paper=paper.values(scope, find),
        days=days.values(scope, find),
        learning=learning.values(scope, find),
        settings=_settings(scope),
    )
    return re.sub(r"\n{3,}", "\n\n", rendered) + "\n"


def _head(scope: Scope, find: Find) -> dict[str, Any]:
    wanted = plan(scope, find)
    finished = [result for experiment in wanted if (result := find(experiment))]
    return {"wanted": len(wanted), "finished": len(finished), "machines": _machines(finished)}


def _machines(finished: list[Result]) -> str:
    if not finished:
        return "No run is finished."
    dates = sorted({result["machine"]["date"] for result in finished})
    words = {
        f"{_processor(machine)}, {machine['cores']} cores (one a run), Python {machine['python']}, torch {machine['torch']}"
        for machine in (result["machine"] for result in finished)
    }
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    hours = sum(result["seconds"] for result in finished) / 3600
    return f"Made {span} on {listed(sorted(words))}; {hours:.1f} hours of one core."


def _processor(machine: dict[str, str]) -> str:
    """With its instructions, where the run noted them."""
    return " with ".join(filter(None, [machine["processor"], machine.get("instructions")]))


def _settings(scope: Scope) -> dict[str, str]:
    """All settings, so that anybody can make the same runs."""
    names = (*scope.sets, *scope.day_sets)
    return {
        "chosen": settings.CHOSEN,
        "train": _by_set("train", {name: settings.train_section(name) for name in names}),
        "finetune": _by_set("compress.finetune", {name: settings.finetune_section(name) for name in names}),
        "search": json.dumps(settings.SEARCH),
    }


def _by_set(title: str, sections: dict[str, dict[str, Any]]) -> str:
    """A section of params.yaml, a column a data set."""
    keys = dict.fromkeys(key for section in sections.values() for key in section)
    rows = [[key, *(json.dumps(section[key]) if key in section else "-" for section in sections.values())] for key in keys]
    return table([title, *sections], rows)
