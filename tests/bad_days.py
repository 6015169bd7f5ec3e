"""The table of bad days: what was done to a good day, the rule that speaks of it, and what is said.

A rule is a line of the table in docs/validation.md by its first words, a rule of docs/schema.md (D1 to D20), or an offence that
puts rows into quarantine. `tests/malformed/test_bad_days.py` holds the verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import days
import polars as pl
from damage import (
    NUMBER,
    ROWS,
    Damage,
    cast,
    columns,
    content,
    files,
    first,
    frame,
    good,
    hidden_beside,
    in_zone,
    invalid_utf8,
    names_like_ours,
    no_row_groups,
    page_overwritten,
    second_half,
    types_apart,
    undeclared_page_overwritten,
)

FIELDS = [*days.FIELDS, {"name": "codes", "type": "integer", "kind": "ids", "optional": True}]
EVENTS = days.events(fields=FIELDS, split={"kind": "column", "column": "part"})
EXPECTATIONS = "days:\n- expect_column_value_lengths_to_be_between: {column: item, max_value: 99, mostly: 0.9}\n"


@dataclass(frozen=True)
class Day:
    """A case.

    Attributes:
        name: what happened.
        rule: where it is written what follows.
        says: found in the day's message; empty where nothing is to be said.
        damage: what makes the day.
        rows: how many do not count.
        messages: how many the damage leads to.
    """

    name: str
    rule: str
    says: str
    damage: Damage
    rows: int = 0
    messages: int = 1

    def __str__(self) -> str:
        return self.name


NO_VALUE = "every value is null; deliver the values"
MISFIT = "does not hold what events declares; write a fitting type, or change the declaration"
UNSOUND = "rows that are not sound (below)"
NO_PARQUET, DAMAGED = "events.parquet cannot be read as Parquet", "a file is damaged; write the day again"

REFUSED = [
    Day("a file of no bytes", "files", NO_PARQUET, content(lambda whole: b"")),
    Day("a footer cut off", "files", NO_PARQUET, content(lambda whole: whole[:-10])),
    Day("a beginning cut off", "files", DAMAGED, content(lambda whole: whole[60:])),
    Day("a page overwritten", "files", DAMAGED, content(page_overwritten)),
    Day("any bytes", "files", NO_PARQUET, content(lambda whole: bytes(range(256)) * 9)),
    Day("CSV by a wrong name", "files", NO_PARQUET, content(lambda whole: b"user,item\n1,2\n" * 9)),
    Day("a page overwritten, of a column that no one declares", "files", DAMAGED, undeclared_page_overwritten),
    Day("bytes that are no UTF-8", "files", "String data contained invalid UTF-8", invalid_utf8),
    Day("no rows", "rows", "0 rows; at least 10 needed", frame(pl.DataFrame.clear)),
    Day("no row groups", "rows", "0 rows; at least 10 needed", no_row_groups),
    Day("too few rows", "rows", "9 rows; at least 10 needed", frame(lambda rows: rows.head(9)), messages=2),
    Day("an id without values", "D6", f"column user: {NO_VALUE}", columns(user=pl.lit(None, pl.Int64))),
    Day("an id without a type", "D6", f"column user: {NO_VALUE}", columns(user=pl.lit(None))),
    Day("an optional field without values", "D6", f"column item: {NO_VALUE}", columns(item=pl.lit(None, pl.String))),
    Day("a number of only NaN", "D6", f"column price: {NO_VALUE}", columns(price=pl.lit(float("nan")))),
    Day("lists without values", "D6", f"column tags: {NO_VALUE}", columns(tags=pl.lit([], pl.List(pl.String)))),
    Day("labels without values", "D6", f"column click: {NO_VALUE}", columns(click=pl.lit(None, pl.Int64)), messages=2),
    Day("times without values", "D6", f"column at: {NO_VALUE}", columns(at=pl.lit(None, pl.Datetime("us", "UTC"))), messages=2),
    Day("labels of NaN", "D6", f"column click: {NO_VALUE}", columns(click=pl.lit(float("nan"))), messages=2),
    Day("a third of a field null", "nulls", "column user: 33.2% are null; at most 20.0% may be", first(133, user=None)),
    Day(
        "all labels 1",
        "share of labels that are 1",
        "100.00% of labels are 1; validate.label_rate ends at 95.00%",
        columns(click=pl.lit(1, pl.Int64)),
        messages=2,
    ),
    Day(
        "all labels 0",
        "share of labels that are 1",
        "0.00% of labels are 1; validate.label_rate starts at 5.00%",
        columns(click=pl.lit(0, pl.Int64)),
        messages=2,
    ),
    Day(
        "a long day of labels 0",
        "labels all alike",
        "column click: all 1,200 labels are 0; see how labels are made (validate.one_label)",
        frame(lambda rows: pl.concat([rows, rows, rows]).with_columns(user=pl.int_range(pl.len()), click=pl.lit(0, pl.Int64))),
        messages=4,
    ),
    Day("labels of 2", UNSOUND, "5 of 400 rows (1.25%) are not sound: click is neither 0 nor 1 in 5", first(5, click=2)),
    Day("labels of -1 for 0", UNSOUND, "click is neither 0 nor 1 in 200", columns(click=pl.col("click") * 2 - 1), messages=3),
    Day("probabilities for labels", UNSOUND, "click is neither 0 nor 1 in 400", columns(click=pl.lit(0.5))),
    Day("labels as text", "D15", f"column click: type String {MISFIT}", cast(click=pl.String)),
    Day("a required field gone", "D4", "column user: missing in 1 file", frame(lambda rows: rows.drop("user"))),
    Day("the label gone", "D19", "column click: missing in 1 file", frame(lambda rows: rows.drop("click"))),
    Day("the time gone", "D19", "column at: missing in 1 file", frame(lambda rows: rows.drop("at"))),
    Day(
        "a field renamed",
        "D5",
        "column user: missing in 1 file(s) (was it renamed to user_id?); add it",
        frame(lambda rows: rows.rename({"user": "user_id"})),
    ),
    Day(
        "a field renamed beyond likeness",
        "D5",
        "column tags: missing in 1 file(s) (was it renamed to labels?)",
        frame(lambda rows: rows.rename({"tags": "labels"})),
    ),
    Day("a field gone from one file", "D20", "column user: missing in 1 file", files(lambda rows: [rows[:200], rows[200:].drop("user")])),
    Day("integers as text", "D9", f"column user: type String {MISFIT}", cast(user=pl.String)),
    Day("text as integers", "D9", f"column item: type Int32 {MISFIT}", columns(item=pl.lit(7))),
    Day("whole numbers as floats", "D10", f"column user: type Float64 {MISFIT}", cast(user=pl.Float64)),
    Day("ids with fractions", "D10", f"column user: type Float64 {MISFIT}", columns(user=pl.col("user") + 0.5)),
    Day("single values where lists were", "D11", f"column tags: type String {MISFIT}", columns(tags=pl.lit("a"))),
    Day("lists where single values were", "D11", f"column item: type List(String) {MISFIT}", columns(item=pl.concat_list("item"))),
    Day("a number as text", "D13", f"column price: type String {MISFIT}", cast(price=pl.String)),
    Day("bytes for text", "D9", f"column item: type Binary {MISFIT}", cast(item=pl.Binary)),
    Day("a structure for an id", "D9", "column user: type Struct({'user': Int64}) does not hold", columns(user=pl.struct("user"))),
    Day("time as text", "D18", f"column at: type String {MISFIT}", cast(at=pl.String)),
    Day(
        "the whole day delivered twice",
        "repeated rows",
        "50.0% of rows repeat an earlier one; see that it was not delivered twice",
        files(lambda rows: [rows, rows]),
    ),
    Day(
        "one row again and again",
        "repeated rows",
        "45.2% of rows repeat an earlier one",
        frame(lambda rows: rows[[0] * 182 + list(range(1, 219))]),
    ),
    Day("infinite numbers", UNSOUND, "price is infinite in 40", first(40, price=float("inf"))),
    Day("numbers below the range", UNSOUND, "price is out of range (0 to 100) in 400", columns(price=-pl.col("price") - 1)),
    Day("ids beyond 64 bits", UNSOUND, "user exceeds 64 bits in 400", columns(user=pl.lit(2**64 - 1, pl.UInt64))),
    Day("events of another day", UNSOUND, "at is more than 24 hours off the day in 400", columns(at=pl.col("at") + timedelta(days=3))),
    Day(
        "a clock in the far future",
        UNSOUND,
        "at is more than 24 hours off the day in 400",
        columns(at=pl.lit(datetime(2999, 1, 1, tzinfo=UTC))),
    ),
    Day(
        "milliseconds for seconds",
        UNSOUND,
        "at is more than 24 hours off the day in 400",
        columns(at=pl.col("at").dt.timestamp("ms")),
        messages=2,
    ),
    Day(
        "broken text",
        UNSOUND,
        "item holds control characters or the replacement character in 400",
        columns(item=pl.lit("caf\ufffd")),
        messages=2,
    ),
    Day("words that name no part", UNSOUND, "part is none of train, validation, test in 40", first(40, part="holdout")),
    Day(
        "two offences at once",
        UNSOUND,
        "40 of 400 rows (10.00%) are not sound: price is infinite in 40, click is neither 0 nor 1 in 40",
        first(40, price=float("inf"), click=2),
    ),
    Day(
        "times of two zones",
        "time zones",
        "the day's times are of 2 kinds (Asia/Tokyo, UTC); write all in one",
        second_half(at=in_zone("Asia/Tokyo")),
    ),
    Day("times with and without a zone", "time zones", "the day's times are of 2 kinds (UTC, no zone)", second_half(at=in_zone(None))),
    Day(
        "epoch seconds beside dates",
        "time zones",
        "the day's times are of 2 kinds (UTC, epoch seconds)",
        second_half(at=pl.col("at").dt.epoch("s")),
    ),
    Day(
        "another zone than the day before",
        "time zones",
        "times are in Asia/Tokyo, those of the day before in UTC",
        columns(at=in_zone("Asia/Tokyo")),
    ),
    Day(
        "epoch seconds where dates were",
        "D17",
        "times are in epoch seconds, those of the day before in UTC",
        columns(at=pl.col("at").dt.epoch("s")),
    ),
    Day("dates without a time of day", "time zones", "times are in no zone, those of the day before in UTC", cast(at=pl.Date)),
    Day("a tenth of the usual rows", "jump in rows", "40 rows, a factor of 10.0 from the usual 400", frame(lambda rows: rows.head(40))),
    Day(
        "ten times the usual rows",
        "jump in rows",
        "4,000 rows, a factor of 10.0 from the usual 400",
        frame(
            lambda rows: pl.concat(good(20 + number) for number in range(10)).with_columns(
                at=rows["at"][0] + pl.duration(seconds=pl.int_range(pl.len()))
            )
        ),
    ),
    Day(
        "labels lost", "jump in the label rate", "10.00% of labels are 1, 50.00% is usual", columns(click=(NUMBER % 10 == 0).cast(pl.Int64))
    ),
    Day(
        "ids of another catalogue",
        "jump in new values, a field",
        "100.0% of values are new to those days",
        columns(user=pl.col("user") + 10**9),
    ),
]
UNEXPECTED = Day(
    "what expectations.yaml does not expect",
    "what you expect",
    "column item: 400 of 400 sampled values are unexpected, such as 'long long",
    columns(item=pl.lit("long " * 100)),
)
ACCEPTED = [
    Day("a null label", "click is null", "column click: 1 values are null; those rows are left out", first(1, click=None), 1),
    Day(
        "a label of NaN",
        "click is null",
        "column click: 1 values are null; those rows are left out",
        first(1, click=float("nan")),
        1,
        messages=2,
    ),
    Day("a label of 2", "click is neither 0 nor 1", "column click: 2 labels are neither 0 nor 1", first(2, click=2), 2),
    Day("a label of -1", "click is neither 0 nor 1", "column click: 1 labels are neither 0 nor 1", first(1, click=-1), 1),
    Day(
        "a label of one half", "click is neither 0 nor 1", "column click: 3 labels are neither 0 nor 1", first(3, click=0.5), 3, messages=2
    ),
    Day("a null time", "at is null", "column at: 1 values are null", first(1, at=None), 1),
    Day(
        "a time traveller",
        "at is more than 24 hours off the day",
        "column at: 4 times are too far off the day",
        first(4, at=datetime(1970, 1, 1, tzinfo=UTC)),
        4,
    ),
    Day("a null word of the split", "part is null", "column part: 1 values are null", first(1, part=None), 1),
    Day(
        "a word that names no part",
        "part is none of train, validation, test",
        "column part: 1 words name no part of the split",
        first(1, part="Train"),
        1,
    ),
    Day("an infinite number", "price is infinite", "column price: 1 values are infinite", first(1, price=float("-inf")), 1),
    Day(
        "a number out of range",
        "price is out of range (0 to 100)",
        "column price: 1 values are out of range (0.5 to 100.5 seen, 0 to 100 is declared)",
        first(1, price=100.5),
        1,
    ),
    Day(
        "an id of 2^63",
        "user exceeds 64 bits",
        "column user: 1 values exceed 64 bits",
        columns(user=pl.when(NUMBER < 1).then(2**63).otherwise(pl.col("user").cast(pl.UInt64))),
        1,
        messages=2,
    ),
    Day(
        "an id of 2^63 in a list",
        "codes exceeds 64 bits",
        "column codes: 1 values exceed 64 bits",
        columns(codes=pl.when(NUMBER < 1).then(pl.lit([1, 2**63], pl.List(pl.UInt64))).otherwise(pl.col("codes").cast(pl.List(pl.UInt64)))),
        1,
        messages=2,
    ),
    Day(
        "a replacement character",
        "item holds control characters or the replacement character",
        "column item: 1 texts hold control or replacement characters",
        first(1, item="caf\ufffd"),
        1,
    ),
    Day(
        "a control character in a list",
        "tags holds control characters or the replacement character",
        "column tags: 1 texts hold control",
        columns(tags=pl.when(NUMBER < 1).then(pl.lit(["a", "\x00"])).otherwise("tags")),
        1,
    ),
    Day("NaN", "NaN", "column price: 8 values are NaN; they are read as null", first(8, price=float("nan"))),
    Day("half of an optional field null", "nulls", "column item: 50.0% are null; more than usual", first(200, item=None)),
    Day("UTF-8 read as Latin-1", "text", "column item: 9 texts look like UTF-8 read in another encoding", first(9, item="cafÃ©")),
    Day(
        "a fifth of the rows repeated",
        "repeated rows",
        "20.0% of rows repeat an earlier one",
        frame(lambda rows: pl.concat([rows, rows.head(100)])),
    ),
    Day(
        "a column that no one declares", "columns", "column colour: new since the day before; it is not used", columns(colour=pl.lit("red"))
    ),
    Day(
        "300 columns that no one declares",
        "columns",
        "column c7: new since the day before",
        columns(**{f"c{n}": NUMBER for n in range(300)}),
        messages=300,
    ),
    Day("names like our own", "click is neither 0 nor 1", "2 labels are neither", names_like_ours, rows=2, messages=7),
    Day("types that have no text in common", "click is neither 0 nor 1", "2 labels are neither", types_apart, rows=2, messages=2),
    Day(
        "an optional field gone",
        "columns",
        "column price: gone since the day before; its values count as missing",
        frame(lambda rows: rows.drop("price")),
    ),
    Day("integers of another width", "D7", "column user: type Int16, Int64 on the day before", cast(user=pl.Int16)),
    Day("text of few words", "D8", "column item: type Categorical, String on the day before", cast(item=pl.Categorical)),
    Day("labels as Boolean", "D14", "column click: type Boolean, Int64 on the day before", cast(click=pl.Boolean)),
    Day("numbers of 32 bits", "D12", "column price: type Float32, Float64 on the day before", cast(price=pl.Float32)),
    Day("a third of the usual rows", "jump in rows", "100 rows, a factor of 4.0 from the usual 400", frame(lambda rows: rows.head(100))),
    Day(
        "labels fewer than usual",
        "jump in the label rate",
        "25.00% of labels are 1, 50.00% is usual",
        columns(click=(NUMBER % 4 == 0).cast(pl.Int64)),
    ),
    Day(
        "half of the ids new",
        "jump in new values, a field",
        "column user: 50.0% of values are new to those days",
        columns(user=pl.when(NUMBER % 2 == 0).then(pl.col("user") + 10**9).otherwise("user")),
    ),
    Day("as good as any", "rows", "", frame(lambda rows: rows)),
    Day("columns in another order", "D3", "", frame(lambda rows: rows.select(reversed(rows.columns)))),
    Day("times in milliseconds", "D16", "", cast(at=pl.Datetime("ms", "UTC"))),
    Day("the evening before", "at is more than 24 hours off the day", "", columns(at=pl.col("at") - timedelta(hours=10))),
    Day("negative ids, and the least", "D7", "", first(1, user=-(2**63))),
    Day("the greatest id", "D7", "", first(1, user=2**63 - 1)),
    Day("texts of any script, and long ones", "text", "", first(3, item="\t'x' {y} 😀 العربية " + "ñ" * 70_000)),
    Day("empty texts", "text", "", first(3, item="")),
    Day(
        "a few lists without values", "nulls", "", columns(tags=pl.when(NUMBER < 9).then(pl.lit([], pl.List(pl.String))).otherwise("tags"))
    ),
    Day("many small files", "D20", "", files(lambda rows: [rows[at : at + 10] for at in range(0, ROWS, 10)])),
    Day("a file without rows beside", "D20", "", files(lambda rows: [rows, rows.clear()])),
    Day("hidden files beside", "files", "", hidden_beside),
]
