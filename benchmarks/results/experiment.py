"""One measured run: what decides it, where its result lies, and who is making it.

A run is found by the digest of what decides it: kind, data set, seed, settings, and a recipe number. Code is not part of the digest:
hours of finished runs are not lost to a renamed function. Whoever changes what a run measures raises its recipe.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amtl.files import digest_of, publish_json, read_json

RECIPE = 2
RECIPES = {"smallest": 3, "auto": 3, "auto-mixed": 3, "twins-cold": 3, "frequency": 3}
"""Of methods, and of kinds that measure none, where it is not `RECIPE`: since 3 cold sizes are learned once for all budgets, go the way
of other sizes, and are candidates of `auto`."""

Result = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A run to make.

    Attributes:
        section: of the page that asks for it, by number; not part of the digest.
        kind: which function of `kinds.KINDS` makes it.
        data: name of the data set.
        choice: what the kind is told: method, saved, precision, min_count, ...
        key: the settings of training, as `settings.key_of` gives them.
        minutes: how long it takes on one core, roughly; not part of the digest.
    """

    section: int
    kind: str
    data: str
    seed: int
    choice: dict[str, Any]
    key: dict[str, Any]
    minutes: float = field(default=1.0, compare=False)

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the result but for the data themselves."""
        return {
            "recipe": RECIPES.get(self.choice.get("method", self.kind), RECIPE),
            "kind": self.kind,
            "data": self.data,
            "seed": self.seed,
            "choice": self.choice,
            "settings": self.key,
        }

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of the identity."""
        return digest_of(self.identity)[:16]

    @property
    def title(self) -> str:
        """In words, for progress."""
        words = [f"{name}={value}" for name, value in self.choice.items()]
        rounds = self.key.get("finetune", {}).get("rounds", 1)
        words += [f"rounds={rounds}"] if rounds > 1 else []
        return f"{self.data} seed {self.seed}: {' '.join([self.kind, *words])}"


@dataclass(frozen=True)
class Store:
    """Finished runs in a folder, and locks on runs under way in another."""

    runs: Path
    locks: Path
    known: dict[str, Result] = field(default_factory=dict)

    def path(self, experiment: Experiment) -> Path:
        """Where its result lies."""
        return self.runs / experiment.data / f"{experiment.digest}.json"

    def read(self, experiment: Experiment) -> Result | None:
        """The result, if the run is finished; read from disk once."""
        path = self.path(experiment)
        if experiment.digest not in self.known and path.exists():
            self.known[experiment.digest] = read_json(path)
        return self.known.get(experiment.digest)

    def write(self, experiment: Experiment, result: Result) -> None:
        """Keep the result, with what decided it."""
        publish_json(self.path(experiment), {"experiment": experiment.identity, **result})

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Hold the lock `name`; yields False at once if another process does."""
        self.locks.mkdir(parents=True, exist_ok=True)
        with (self.locks / name).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
