"""Finished runs of `benchmarks/results`, made up, and the plan they belong to."""

from benchmarks.results import plan

SCOPE = plan.Scope(sets=("ml-1m",), day_sets=(), seeds=2, min_counts=(1,))
MACHINE = {"processor": "a", "cores": "2", "python": "3.11", "torch": "2", "date": "2026-01-02", "gpu": "none"}
CONTROL = {"auc": 0.8, "logloss": 0.5, "score": 0.55}
SIZES = {"sizes": {"histogram": {"0": 1, "4": 3}}}


def lost(auc, logloss=0.0):
    return {"auc": CONTROL["auc"] - auc, "logloss": CONTROL["logloss"] + logloss, "score": CONTROL["score"] - auc}


def method_run(validation, test=0.0, saved=0.9):
    return {"validation": lost(validation), "test": lost(test), "saved": saved, "bytes": round(1000 * (1 - saved)), "details": SIZES}


def start_run():
    part = {"validation": CONTROL, "test": CONTROL}
    return {"control": part, "base": part, "logistic": part, "rows": {"table": 10, "train": 5, "validation": 5, "test": 5}}


class Finished:
    """Finished runs: starts always, other runs by a rule on their experiment."""

    def __init__(self, rule, seeds=(0,)):
        self.rule, self.seeds = rule, seeds

    def __call__(self, run):
        if run.seed not in self.seeds:
            return None
        result = start_run() if run.kind == "start" else self.rule(run) if run.kind in ("method", "smallest") else None
        return result and {**result, "experiment": run.identity, "machine": MACHINE, "seconds": 60.0}
