"""`amtl compare` in a workspace: what it refuses, and what it hands to the harness."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from toy import toy

from amtl import cli, comparison
from amtl.compare.wishes import Wishes
from amtl.errors import DataError
from amtl.sources.sample import write_sample

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def amtl(tmp_path, monkeypatch, capsys):
    """The command line in a fresh workspace of the sample; gives the exit code and what was said on stderr."""
    for name in ("dvc.yaml", "params.yaml", "parent.lock", "expectations.yaml", "skipped_days.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for name in ("AMTL_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["amtl", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().err

    return call


def test_before_there_is_a_trained_table_it_says_what_to_run(amtl, tmp_path):
    code, said = amtl("compare")
    assert code == 1
    assert re.fullmatch(r"amtl: error: .*amtl sample.*\n", said)
    write_sample(tmp_path / "data" / "events", days=1, rows_per_day=100)
    code, said = amtl("compare")
    assert code == 1
    assert re.fullmatch(r"amtl: error: .*dvc repro.*\n", said)
    assert not (tmp_path / "build" / "compare").exists()


@pytest.mark.parametrize(("part", "quick", "advice"), [("test", False, "events.split"), ("validation", True, "without --quick")])
def test_rows_with_labels_of_one_kind_are_refused_before_anything_is_trained(monkeypatch, part, quick, advice):
    problem = toy(rows=300)
    parts = {"train": problem.train, "validation": problem.validation, "test": problem.validation}
    parts[part] = replace(parts[part], labels_B=torch.ones_like(parts[part].labels_B))
    inputs = SimpleNamespace(vocabulary=problem.vocabulary, parts=lambda *names: {name: parts[name] for name in names})
    monkeypatch.setattr(comparison, "Inputs", lambda settings: inputs)
    with pytest.raises(DataError, match=f"all .* {part} rows have the same label.*{advice}"):
        comparison.problem_of_seed(problem.settings, quick, "1", "", 0)


@pytest.mark.parametrize(("methods", "shared"), [("rule", False), ("rule,auto", True)])
def test_trainings_are_shared_where_auto_takes_them_up(monkeypatch, tmp_path, methods, shared):
    """What is handed to the harness; that shared trainings are taken up, and go, is held in tests/unit/compare."""
    problem, asked = toy(rows=300), []

    def run(problem_of, *_):
        asked.append(problem_of.args)
        raise InterruptedError

    monkeypatch.setattr(comparison, "Inputs", lambda settings: SimpleNamespace(vocabulary=problem.vocabulary))
    monkeypatch.setattr("amtl.compare.execution.run", run)
    with pytest.raises(InterruptedError):
        comparison.compare(problem.settings, Wishes("5%", methods), 1, tmp_path)
    assert bool(asked[0][-1]) is shared


def test_who_interrupts_learns_that_nothing_is_lost(amtl, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("amtl.comparison.compare", interrupted)
    code, said = amtl("compare")
    assert code == 130
    assert "the same command goes on" in said


def test_a_wrong_option_is_named(amtl):
    code, said = amtl("compare", "--seeds", "0")
    assert code == 2
    assert "--seeds" in said


def test_settings_that_are_wrong_are_named(amtl, tmp_path):
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**raw, "train": {"dim": "wide"}}))
    code, said = amtl("compare")
    assert code == 1
    assert "train.dim" in said
