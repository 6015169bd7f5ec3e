"""Frappe's libfm files: values numbered within their fields, the split as published, labels of 0 and 1."""

import official
import pytest

from amtl.errors import DataError
from amtl.sources.published import frappe
from amtl.sources.published.lines import collect

CONTEXT = official.FRAPPE["frappe.test.libfm"][0].split(" ", 3)[3]


def test_blocks_of_indices_are_those_of_the_readme():
    assert sum(frappe.VALUES.values()) == 5382


def test_rows(tmp_path):
    source = frappe.read(official.write(tmp_path / "files", official.FRAPPE), "2026-03-01")
    rows = collect(source.frame).to_dicts()
    found = [(row["used"], row["split"], row["user"], row["item"], row["city"], row["day"]) for row in rows]
    assert found == [
        (1, "train", 0, 0, 34, "2026-03-01"),
        (0, "train", 956, 4081, 34, "2026-03-01"),
        (0, "train", 3, 43, 34, "2026-03-01"),
        (0, "validation", 2, 1, 34, "2026-03-01"),
        (1, "test", 2, 2, 232, "2026-03-01"),
    ]
    assert rows[0] | {"daytime": 2, "weekday": 0, "isweekend": 0, "homework": 0, "cost": 0, "weather": 0, "country": 4} == rows[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frappe.validation.libfm": None}, r"frappe\.validation\.libfm does not exist; give the folder with the three libfm files"),
        ({"frappe.test.libfm": []}, r"frappe\.test\.libfm is empty"),
        ({"frappe.test.libfm": [f"0 2:1 959:1 {CONTEXT}"]}, r"frappe\.test\.libfm line 1: used is '0', not -1 or 1"),
        ({"frappe.test.libfm": [f"1 2:1 956:1 {CONTEXT}"]}, r"line 1: item is '956:1', not one of 957:1 to 5038:1"),
        ({"frappe.test.libfm": [f"1 2:1 {CONTEXT}"]}, "line 1: it has 10 fields, not 11"),
        (
            {"frappe.train.libfm": [*official.FRAPPE["frappe.train.libfm"], f"1 2 959 {CONTEXT}"]},
            "line 4: user is '2', not one of 0:1 to 956:1",
        ),
        ({"frappe.train.libfm": ["user\titem\tcnt\tdaytime"]}, "line 1: it has 1 fields, not 11"),
    ],
)
def test_odd_files_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        collect(frappe.read(official.write(tmp_path / "files", official.FRAPPE, changes), "2026-03-01").frame)
