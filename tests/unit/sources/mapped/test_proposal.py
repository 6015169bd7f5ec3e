"""What is proposed for the columns of an unknown table, and what the user is told or asked instead."""

from datetime import date, datetime

import polars as pl
import pytest

from amtl.errors import DataError
from amtl.params import EventsParams
from amtl.sources.mapped import kinds, times
from amtl.sources.mapped.conversions import Reading
from amtl.sources.mapped.proposal import Wishes, options, propose, reading_for
from amtl.sources.mapped.tables import Layout, Table

ROWS = 100
TEXT = {
    "click": [str(number % 2) for number in range(ROWS)],
    "user": [str(number % 7) for number in range(ROWS)],
    "zip": [f"0{number % 9}" for number in range(ROWS)],
    "hash": [f"{10**19 + number % 5}" for number in range(ROWS)],
    "price": [f"{number % 11}.5" for number in range(ROWS)],
    "genres": ["Drama|War", "Drama|War", "Comedy", "Comedy"] * 25,
    "site": ["b", None, "a", "c"] * 25,
}


def column(values):
    return kinds.describe(pl.DataFrame({"x": values}))["x"]


NONE = Wishes()
NO_TIMES = "no column holds times: all rows lie in the day of import (--time or --day-column says otherwise)"


def proposal(wishes=NONE, **changes):
    """For a CSV of these columns of text; a column that is None is left out."""
    sample = pl.DataFrame({name: values for name, values in (TEXT | changes).items() if values is not None}, strict=False)
    return propose(Table((), "csv", Layout(delimiter=",")), sample, wishes, "my file")


def fields(proposed):
    return {field["name"]: {key: value for key, value in field.items() if key != "name"} for field in proposed.section["fields"]}


def test_columns_become_fields_by_what_their_values_could_be():
    proposed = proposal()
    assert fields(proposed) == {
        "user": {"type": "integer"},
        "zip": {},
        "hash": {},
        "price": {"kind": "number"},
        "genres": {},
        "site": {"optional": True},
    }
    assert {**proposed.section, "fields": []} == {
        "name": "my-file",
        "label": "click",
        "split": {"kind": "random", "test": 0.1, "validation": 0.1},
        "fields": [],
    }
    assert proposed.notes == (NO_TIMES,)
    EventsParams.model_validate(proposed.section)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "+3"], "integer"),
        (["9223372036854775807"], "integer"),
        (["9223372036854775808", "1"], "text"),
        (["007", "8"], "text"),
        (["1", "2.5"], "number"),
        (["1e3", "2"], "number"),
        (["1.5", "007"], "text"),
        (["True", "false"], "boolean"),
        (["1", "NULL"], "integer"),
        (["2026-01-01", "2026-02-03"], "time"),
        (["01/02/2026", "13/02/2026"], "time"),
        (["1", "a"], "text"),
        (["", None], "nothing"),
        ([[1, 2], [3]], "integers"),
        ([["a"], []], "texts"),
        ([{"a": 1}], "other"),
        ([date(2026, 1, 1)], "time"),
        ([1.5, None], "number"),
    ],
)
def test_kinds(values, kind):
    assert column(values).kind == kind


@pytest.mark.parametrize(
    ("name", "values", "form"),
    [
        ("ts", ["1700000000", "1700000001"], "epoch s"),
        ("ts", [1_700_000_000_000], "epoch ms"),
        ("event_time", [1_700_000_000_000_000], "epoch us"),
        ("ts", [1.7e9 + 0.25], "epoch s"),
        ("user", [1_700_000_000], None),
        ("ts", [5, 6], None),
        ("x", ["2026-01-01 10:00:00", "2026-01-01 10:00:00.25"], "%Y-%m-%d %H:%M:%S%.f"),
        ("x", ["2026-01-01T10:00:00Z", "2026-01-01T10:00:00+02:00"], "%Y-%m-%dT%H:%M:%S%.f%#z"),
        ("day", ["20260101"], "%Y%m%d"),
        ("x", ["20260101"], None),
        ("x", ["01/02/2026"], None),
        ("x", [datetime(2026, 1, 1)], "native"),
    ],
)
def test_forms_of_times(name, values, form):
    assert kinds.describe(pl.DataFrame({name: values}))[name].form == form


@pytest.mark.parametrize(("form", "value"), [("epoch s", 1_700_000_000), ("epoch ms", 1_700_000_000_000), ("epoch us", "1700000000000000")])
def test_epochs_are_exact(form, value):
    made = pl.DataFrame({"x": [value]}).select(times.to_utc(pl.col("x"), form))["x"]
    assert made.dtype == times.UTC_MICROSECONDS
    assert made.dt.epoch("us").to_list() == [1_700_000_000_000_000]


@pytest.mark.parametrize(
    ("changes", "left_out", "why"),
    [
        ({"row": [str(number) for number in range(ROWS)]}, "row", "all its values are different"),
        ({"country": ["de"] * ROWS}, "country", "it is constant"),
        ({"nothing": [None] * ROWS}, "nothing", "it is empty"),
        ({"rating": [str(5 if number % 2 else 2) for number in range(ROWS)]}, "rating", "it tells the label"),
        ({"cost": ["1,5", "12", "0,25", "7,1"] * 25}, "cost", "its numbers have decimal commas"),
        ({"where": [{"a": 1}] * ROWS}, "where", "it holds neither values nor lists"),
    ],
)
def test_what_is_left_out_is_said_and_can_be_asked_for(changes, left_out, why):
    proposed = proposal(**changes)
    assert left_out not in fields(proposed)
    assert proposed.notes[0] == NO_TIMES
    (note,) = proposed.notes[1:]
    assert note.startswith(f"{left_out} is left out: {why}")
    assert note.endswith("name it and all other fields with --field")
    asked = Wishes(fields=(left_out, "user"))
    if left_out != "where":
        assert list(fields(proposal(asked, **changes))) == ["user", left_out]


def test_thousands_and_words_have_no_decimal_commas():
    assert not column(["1,500", "2,25"]).commas
    assert not column(["1,5", "a"]).commas


def test_a_constant_with_gaps_says_something():
    assert fields(proposal(device=["tv", "tv", None, None] * 25))["device"] == {"optional": True}


def test_a_sample_of_one_label_says_nothing_of_leaks():
    assert "genres" in fields(proposal(Wishes(label="click"), click=["1"] * ROWS))


def test_a_column_may_have_a_colon_in_its_name():
    assert fields(proposal(Wishes(fields=("a:b", "user:string")), **{"a:b": ["x", "y"] * 50})) == {"user": {}, "a:b": {}}


def test_wishes_decide():
    wishes = Wishes(
        label="price>=4", fields=("zip", "user:string"), numbers=("click",), lists=("genres",), name="mine", split="column:site"
    )
    proposed = proposal(wishes)
    assert fields(proposed) == {"click": {"kind": "number"}, "user": {}, "zip": {}, "genres": {"kind": "ids"}}
    assert proposed.section["label"] == "price_at_least_4"
    assert proposed.section["split"] == {"kind": "column", "column": "site"}
    assert proposed.section["name"] == "mine"
    assert proposed.reading.lists == {"genres": "|"}
    assert proposed.notes == ("price_at_least_4 is 1 where price >= 4; price itself is no field", NO_TIMES)


def test_one_column_of_times_is_the_time():
    proposed = proposal(at=["2026-01-01 10:00"] * ROWS)
    assert proposed.section["time"] == "at"
    assert proposed.section["split"]["kind"] == "time"
    assert proposed.notes == ("at is read as %Y-%m-%d %H:%M, times without a zone taken as UTC; days are UTC days",)
    assert "time" not in proposal(Wishes(time="none"), at=["2026-01-01 10:00"] * ROWS).section


@pytest.mark.parametrize(
    ("wishes", "changes", "message"),
    [
        (Wishes(), {"click": ["1", "2"] * 50}, "no column holds only 0 and 1; say --label COLUMN, --label 'COLUMN>=4'"),
        (Wishes(), {"click": ["yes", "no"] * 50}, "'COLUMN=yes'; two values have: click"),
        (
            Wishes(),
            {"at": ["13/02/2026 10:00"] * ROWS},
            "column at is no time .*: --time at --time-format '%d/%m/%Y %H:%M'; or --time none",
        ),
        (Wishes(), {"at": ["03/02/2026"] * ROWS}, "--time at --time-format %d/%m/%Y or --time-format %m/%d/%Y; or --time none"),
        (
            Wishes(),
            {"at": ["2026-02-13"] * 99 + ["13.02.2026"]},
            "column at: '13.02.2026' is not written like the times before it; mend it",
        ),
        (Wishes(), {"like": ["1", "1", "0", "0"] * 25}, "columns click, like hold only 0 and 1"),
        (Wishes(label="nope"), {}, "there is no column nope; the table has click, user"),
        (Wishes(label="nope>=4"), {}, "there is no column nope"),
        (Wishes(label="user>=many"), {}, "many is no number"),
        (Wishes(label="user"), {}, "holds other values than 0 and 1"),
        (Wishes(fields=("nope",)), {}, "there is no column nope"),
        (Wishes(fields=("user:float",)), {}, "the type is integer or string"),
        (Wishes(fields=("price",), numbers=("price",)), {}, "no column is left that could be a field with ids"),
        (Wishes(numbers=("cost",)), {"cost": ["1,5", "12"] * 50}, "--number cost: its numbers have decimal commas, .* with points"),
        (Wishes(time="site"), {}, r"column site is no time that can be told \('b'\); say how it is written: --time site --time-format"),
        (Wishes(time_zone="Mars/Base"), {}, "is no time zone"),
        (Wishes(split="time"), {}, "--split time: it needs --time"),
        (Wishes(split="sideways"), {}, "--split sideways: it is random, time or column:NAME"),
        (Wishes(split="column:nope"), {}, "there is no column nope"),
        (Wishes(), {"a_day": ["2026-01-01"] * ROWS, "b_day": ["2026-01-01"] * ROWS}, "columns a_day, b_day hold times; say which"),
    ],
)
def test_what_cannot_be_told_is_asked_for(wishes, changes, message):
    with pytest.raises(DataError, match=message):
        proposal(wishes, **changes)


def test_a_proposal_as_options():
    proposed = proposal(Wishes(lists=("genres",)))
    assert options(proposed, Wishes(split="random", header=True)) == (
        "--label click --time none --field user --field zip --field hash --number price --list genres --field site "
        "--separator '|' --split random --header --name my-file"
    )


def test_a_column_of_times_that_need_a_format_is_no_field():
    assert "at" not in fields(proposal(Wishes(time="none"), at=["13/02/2026"] * ROWS))


def test_a_later_delivery_keeps_the_rules_of_the_first_and_may_write_times_otherwise():
    first = proposal(Wishes(label="user>=3", lists=("genres",), time_zone="Europe/Berlin"), at=["2026-01-01 10:00"] * ROWS)
    events = EventsParams.model_validate(first.section)
    later = pl.DataFrame({**TEXT, "user": ["4", "NULL"] * 50, "at": ["2026-01-02T10:00"] * ROWS})
    reading = reading_for(later, events, first.reading)
    assert reading.label == first.reading.label
    assert (reading.time.form, reading.time.zone) == ("%Y-%m-%dT%H:%M", "Europe/Berlin")
    assert reading.lists == {"genres": "|"}
    damaged = reading_for(later.with_columns(at=pl.Series(["2026-01-02 10:00"] * 99 + ["later"])), events, first.reading)
    assert damaged.time == first.reading.time
    guessed = reading_for(later, EventsParams.model_validate({**first.section, "label": "click", "fields": [{"name": "zip"}]}), None)
    assert (guessed.label.column, guessed.time.form) == ("click", "%Y-%m-%dT%H:%M")


def test_a_reading_travels_as_text():
    reading = proposal(Wishes(label="user>=3", delimiter="\t"), at=["1700000000"] * ROWS).reading
    assert Reading.model_validate_json(reading.model_dump_json()) == reading
