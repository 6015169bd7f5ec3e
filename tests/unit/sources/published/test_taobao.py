"""Taobao's three files joined: what is known of ad and user, counted where nothing is; days of Beijing."""

import official
import pytest

from amtl.errors import DataError
from amtl.sources.published import taobao
from amtl.sources.published.lines import collect

SAMPLE, ADS, USERS = (official.TAOBAO[name] for name in ("raw_sample.csv", "ad_feature.csv", "user_profile.csv"))


def read(tmp_path, changes=None):
    return taobao.read(official.write(tmp_path / "files", official.TAOBAO, changes), "2026-03-01")


def test_impressions_are_joined_with_ad_and_user(tmp_path):
    rows = collect(read(tmp_path).frame)
    assert rows["clk"].to_list() == [0, 1, 1, 0]
    assert rows["day"].to_list() == ["2017-05-06", "2017-05-06", "2017-05-07", "2017-05-07"]
    assert rows["hour"].to_list() == [8, 8, 0, 0]
    assert rows["price"].to_list() == [170.0, 38.0, None, 199.0]
    assert rows["brand"].to_list() == [95471, None, None, 95471]
    assert rows["cms_group_id"].to_list() == [5, 2, None, 5]
    assert rows["pvalue_level"].to_list() == [1, None, None, 1]
    assert rows["new_user_class_level"].to_list() == [3, None, None, 3]
    assert "nonclk" not in rows.columns


def test_what_is_described_nowhere_is_said(tmp_path):
    assert read(tmp_path).notes == (
        "rows whose ad is not in ad_feature.csv: 1; its values are missing there",
        "rows whose user is not in user_profile.csv: 1; its values are missing there",
    )
    whole = {"ad_feature.csv": [*ADS, "4,1,1,1,1,1.0"], "user_profile.csv": [*USERS, "914836,0,0,1,1,1,1,0,1"]}
    assert taobao.read(official.write(tmp_path / "whole", official.TAOBAO, whole), "2026-03-01").notes == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_profile.csv": None}, r"user_profile\.csv does not exist; give the folder with raw_sample\.csv, ad_feature\.csv and user"),
        ({"raw_sample.csv": SAMPLE[1:]}, r"raw_sample\.csv line 1: the header lacks user, time_stamp"),
        ({"raw_sample.csv": [*SAMPLE, "1,1494032110,1,430548_1007,1"]}, r"raw_sample\.csv line 6: it has 5 fields, not 6"),
        ({"raw_sample.csv": [*SAMPLE, "1,1494032110,1,430548_1007,0,2"]}, r"raw_sample\.csv line 6: clk is '2', not 0 or 1"),
        ({"ad_feature.csv": [*ADS, "2,1,1,1,1,1.0"]}, r"ad_feature\.csv line 5: adgroup_id 2 has a line already"),
        ({"ad_feature.csv": [*ADS, "5,1,1,1,1,cheap"]}, r"ad_feature\.csv line 5: price is 'cheap', not a number"),
        ({"user_profile.csv": [*USERS, ",0,5,2,5,,3,0,3"]}, r"user_profile\.csv line 4: userid is '', not an integer"),
    ],
)
def test_odd_files_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        collect(read(tmp_path, changes).frame)
