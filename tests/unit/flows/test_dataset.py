"""Swapping the data set of a workspace: params.yaml changes where it must and nowhere else."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from amtl import params
from amtl.errors import DataError
from amtl.sources.published.movielens import MOVIELENS_100K
from amtl.sources.sample import EVENTS
from flows import dataset

TEXT = (Path(__file__).resolve().parents[3] / "params.yaml").read_text()


@pytest.mark.parametrize("section", [MOVIELENS_100K, EVENTS], ids=lambda section: section["name"])
def test_the_new_section_is_there_and_valid(section):
    described = yaml.safe_load(dataset.described(TEXT, section))
    assert described["events"] == section
    assert described["register"]["name"] == section["name"]
    params.parse(described)


def test_everything_else_stays_to_the_byte():
    text = dataset.described(TEXT, MOVIELENS_100K)
    before, after = TEXT.index("events:"), TEXT.index("\nvalidate:")
    assert text[:before] == TEXT[:before]
    rest = TEXT[after:].replace("name: sample ", "name: movielens-100k ")
    assert text[text.index("\nvalidate:") :] == rest


def test_there_and_back_again():
    there = dataset.described(TEXT, MOVIELENS_100K)
    back = dataset.described(there, yaml.safe_load(TEXT)["events"])
    assert yaml.safe_load(back) == yaml.safe_load(TEXT)
    assert dataset.described(back, yaml.safe_load(TEXT)["events"]) == back


@pytest.mark.parametrize(
    "text",
    [
        'register: {name: "old name"}  # why\nevents: {name: old}\n',
        "events:\n  name: old\n  # inside\n\n# before register\nregister:\n  name: 'old'\n",
        "register:\n  name: old\nevents:\n  name: old",
    ],
)
def test_other_ways_to_write_yaml(text):
    described = dataset.described(text, {"name": "new", "fields": [{"name": "a b", "range": [0, 1.5]}]})
    content = yaml.safe_load(described)
    assert content == {"events": {"name": "new", "fields": [{"name": "a b", "range": [0, 1.5]}]}, "register": {"name": "new"}}
    assert ("# before register" in described) == ("# before register" in text)
    assert ("# why" in described) == ("# why" in text)


def test_any_name_of_a_column_is_one_readable_line():
    section = {"fields": [{"name": "Käufer €"}, {"name": "two\nlines: ü", "optional": True}]}
    lines = list(dataset.events_lines(section))
    assert lines[1:] == ["    - {name: Käufer €}\n", '    - {"name": "two\\nlines: ü", "optional": true}\n']
    assert yaml.safe_load("".join(lines)) == section


def test_another_data_set_is_not_overwritten(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT)
    with pytest.raises(DataError, match=r"'sample'.*'movielens-100k'.*--replace"):
        dataset.install(tmp_path, MOVIELENS_100K, lambda folder: pytest.fail("written"), replace=False)
    assert (tmp_path / "params.yaml").read_text() == TEXT


def test_days_that_a_user_put_beside_the_sample_are_not_overwritten_unasked(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT)
    day = tmp_path / "data" / "events" / "date=2026-05-01"
    day.mkdir(parents=True)
    pl.DataFrame({"user_id": [1]}).write_parquet(day / "mine.parquet")
    with pytest.raises(DataError, match=r"mine\.parquet was not written by `amtl sample`"):
        dataset.install(tmp_path, EVENTS, lambda root: pytest.fail("wrote over it"), replace=False)
