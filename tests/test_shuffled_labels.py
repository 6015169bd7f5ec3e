"""Nothing can be learned from shuffled labels: a leak anywhere between events and metrics would show as an AUC above .5."""

import contextlib
import json
from pathlib import Path

import pytest
import yaml

from amtl import params, stages
from amtl.release.parent import ParentLock
from amtl.sources.sample import EVENTS, write_sample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_shuffled_labels_give_an_auc_of_one_half(tmp_path, monkeypatch):
    raw = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text())
    raw |= {"events": {**EVENTS, "split": {**EVENTS["split"], "test": 0.4}}, "train": {"dim": 8, "hidden": [16], "epochs": 2}}
    settings = params.parse(raw)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with contextlib.chdir(tmp_path):
        write_sample(stages.EVENTS, days=4, rows_per_day=5000, shuffle_labels=True)
        ParentLock().write(stages.PARENT_LOCK)
        for name in ("validate", "parent", "count", "train", "search", "compress", "evaluate"):
            stages.STAGES[name](settings)
        metrics = json.loads(stages.METRICS.read_text())
    assert metrics["rows"] == 8000
    assert metrics["auc"] == pytest.approx(0.5, abs=0.02)
    assert metrics["auc_fixed"] == pytest.approx(0.5, abs=0.02)
