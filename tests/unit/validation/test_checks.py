"""Which bounds are put on a profile's figures."""

import days
import pytest

from amtl.params import ValidateParams
from amtl.validation.checks import checks


@pytest.mark.parametrize(("time", "severities"), [("at", ["critical", "warning"]), (None, ["warning"])])
def test_equal_rows_refuse_a_day_only_where_rows_have_a_time(time, severities):
    events = days.events(time=time, split=days.SPLIT if time else {"kind": "random"})
    assert [check.severity for check in checks(events, ValidateParams()) if check.figure == "duplicate_share"] == severities


def test_what_is_not_to_be_judged_has_no_check():
    limits = dict.fromkeys(("max_duplicates", "volume_jump", "label_rate_jump", "new_values_jump"))
    compared = {"duplicate_share", *limits} - {"max_duplicates"}
    assert not compared & {check.figure for check in checks(days.events(), ValidateParams(**limits))}
    alone = {check.figure for check in checks(days.events(compare_days=False), ValidateParams())}
    assert compared & alone == {"duplicate_share"}
