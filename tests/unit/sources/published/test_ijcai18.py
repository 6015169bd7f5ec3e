"""The IJCAI-18 contest's file: lists split, -1 missing, days and hours of Beijing."""

from datetime import UTC, datetime

import official
import pytest

from amtl.errors import DataError
from amtl.sources.published import ijcai18
from amtl.sources.published.lines import collect

NAME = ijcai18.FILES[0]
HEADER, *LINES = official.IJCAI18[NAME]


def rows_of(tmp_path, lines):
    return collect(ijcai18.read(official.write(tmp_path / "files", {NAME: lines}), "2026-03-01").frame)


def test_days_and_hours_are_those_of_beijing(tmp_path):
    rows = rows_of(tmp_path, [HEADER, *LINES])
    assert rows["day"].to_list() == ["2018-09-18", "2018-09-18", "2018-09-17", "2018-09-17"]
    assert rows["hour"].to_list() == [0, 0, 23, 23]
    assert rows["time"][0] == datetime(2018, 9, 17, 16, tzinfo=UTC)
    assert rows["is_trade"].to_list() == [0, 1, 0, 1]


def test_lists_are_split_and_missing_values_are_missing(tmp_path):
    rows = rows_of(tmp_path, [HEADER, *LINES])
    assert rows["item_category_list"].to_list() == [[70, 80]] * 4
    assert rows["item_property_list"].to_list() == [[1, 2, 3]] * 3 + [None]
    assert rows["predict_category_list"].to_list()[:2] == [[70, 80, 90]] * 2
    assert rows["predict_property_list"].to_list()[:2] == [[21, 22, 23]] * 2
    assert rows["predict_category_list"].list.len().fill_null(0)[2] == rows["predict_property_list"].list.len().fill_null(0)[2] == 0
    assert rows["item_brand_id"].to_list()[:2] == [1975590437749032870, None]
    assert rows.select("item_id", "user_id", "shop_id", "shop_review_positive_rate", "shop_score_description").row(0) == (
        3412720377098676069,
        4505772604969228686,
        6765930309048922341,
        1.0,
        0.97,
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.removesuffix(" is_trade"), *(line[:-2] for line in LINES)], "line 1: the header lacks is_trade"),
        ([HEADER, *LINES, LINES[0] + " 1"], "line 6: it has 28 fields, not 27"),
        ([HEADER, LINES[0].replace(" 1537200000 ", " 2018-09-18 ")], "line 2: context_timestamp is '2018-09-18', not a time"),
        ([HEADER, LINES[0].replace("1;2;3", "1;x;3")], "line 2: item_property_list is '1;x;3', not integers with ; in between"),
        ([HEADER, LINES[0].replace("70:21,22", "a:21")], "line 2: predict_category_property is 'a:21;80:-1;90:23', not CATEGORY:PROPERTY"),
        ([HEADER, LINES[0][:-1] + "-1"], "line 2: is_trade is '-1', not 0 or 1"),
        (
            [HEADER, LINES[0].replace("4505772604969228686", "99999999999999999999")],
            "line 2: user_id is '99999999999999999999', not an integer",
        ),
    ],
)
def test_odd_files_are_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path, lines)
