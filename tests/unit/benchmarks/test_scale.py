"""The benchmark of large tables, on a small one."""

import pytest
import torch

from amtl.params import SearchParams
from benchmarks import scale, table


@pytest.fixture(scope="module")
def raw():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale, "EVENTS", 3000)
        patch.setattr(scale, "LOOKUPS", 500)
        patch.setattr(scale, "SearchParams", lambda: SearchParams(steps=2))
        results = scale.measure(rows=3000, share=0.05)
    return {"machine": {"date": "2026-01-01", "processor": "P", "cores": "2", "gpu": "none", "torch": "2"}, "results": results}


def test_budgets_are_met_and_packed_rows_are_the_cut_ones(raw):
    results = raw["results"]
    assert results["budget_bytes"] == 3000 * 64 * 4 // 20
    for layout in results["layouts"].values():
        assert 0.9 * results["budget_bytes"] < layout["bytes"] <= results["budget_bytes"]
    assert results["largest_relative_error"] < 0.02
    assert {"rotate", "read events", "price rows", "twins", "pack"} <= {step["step"] for step in results["steps"]}


def test_its_section_says_rows_steps_and_bytes(raw):
    section = table.page({"scale-cpu": raw})
    assert "## A table of 3,000 rows" in section
    assert "| rotate |" in section
    assert "by curvature, int8: " in section


def test_rows_of_a_field_are_permuted_and_frequencies_fall_along_them():
    field_V = scale.fields_of(1000)
    assert torch.bincount(field_V).tolist() == [600, 300, 100]
    shown_V = scale.occurrences(field_V)
    assert shown_V.isfinite().all()
    assert len(shown_V[:600].unique()) == 600
    assert not torch.equal(shown_V[:600].sort(descending=True).values, shown_V[:600])
