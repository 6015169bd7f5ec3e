"""Days are judged once, verdicts are kept, and nothing unfit is accepted. (What is unfit: tests/malformed/test_events.py.)"""

import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import days
import polars as pl
import pytest

from amtl.data import events as ev
from amtl.errors import DataError, ValidationError
from amtl.files import digest_of
from amtl.params import ValidateParams
from amtl.validation import expectations
from amtl.validation.checks import Finding, checks
from amtl.validation.skipped import SkippedDays
from amtl.validation.suite import Entry, Suite
from amtl.validation.validate import validate

NONE_SKIPPED, NOTHING_MORE = SkippedDays(), Suite()


def run(tmp_path, events=None, skipped=NONE_SKIPPED, suite=NOTHING_MORE, **limits):
    events = events or days.events()
    params = ValidateParams(**{"label_rate": (0.05, 0.95)} | limits)
    return validate(ev.partitions(tmp_path / "events"), skipped, suite, events, params, tmp_path / "cache", tmp_path / "build")


def accepted(tmp_path):
    return json.loads((tmp_path / "build" / "accepted.json").read_text())


@pytest.fixture
def judged(monkeypatch):
    """Days that reach the suite, run by run; the suite itself passes all of them without Great Expectations."""
    runs = []

    def judge(profiles, samples, checks, suite, events, documents):
        runs.append(sorted(set(profiles["day"])))
        (documents / "profiles.html").write_text("documents")
        return []

    monkeypatch.setattr(expectations, "judge", judge)
    return runs


def test_a_day_is_judged_once(tmp_path, judged):
    parts = days.days(tmp_path / "events", 3)
    first = run(tmp_path)
    assert first["validated"] == [part.day for part in parts]
    assert accepted(tmp_path) == {
        "partitions": [{"day": part.day, "digest": part.digest, "rows": 60, "quarantined": 0} for part in parts],
        "skipped": [],
        "soundness": digest_of(ev.soundness(days.events())),
    }
    days.write(tmp_path / "events", 3, days.frame(60, 3))
    second = run(tmp_path)
    assert (second["validated"], second["reused"]) == (["2026-01-04"], first["validated"])
    assert run(tmp_path)["validated"] == []
    assert judged == [first["validated"], ["2026-01-04"]]


def test_changed_content_schema_or_limits_are_judged_anew(tmp_path, judged):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    days.write(tmp_path / "events", 0, days.frame(60, 0, seed=1))
    assert run(tmp_path)["validated"] == ["2026-01-01"]
    assert len(run(tmp_path, days.events(fields=days.FIELDS[:3]))["validated"]) == 2
    assert len(run(tmp_path, max_null_share=0.5)["validated"]) == 2
    assert run(tmp_path, days.events(split={"kind": "random"}))["validated"] == []


@pytest.mark.parametrize("name", ["profile.parquet", "values.parquet", "findings.json", "manifest.json"])
def test_a_damaged_verdict_is_made_again(tmp_path, judged, name):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    for path in (tmp_path / "cache" / "validate").glob(f"*/{name}"):
        path.write_bytes(path.read_bytes()[:-5])
    assert len(run(tmp_path)["validated"]) == 2
    assert run(tmp_path)["validated"] == []


def test_documents_tell_of_all_days_and_show_pages_of_those_judged_now(tmp_path, judged):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    assert (tmp_path / "build" / "data_docs" / "profiles.html").exists()
    run(tmp_path)
    assert [path.name for path in (tmp_path / "build" / "data_docs").iterdir()] == ["index.html"]
    assert "2026-01-02" in (tmp_path / "build" / "data_docs" / "index.html").read_text()


def test_the_output_has_all_profiles_and_is_the_same_when_nothing_is_new(tmp_path, judged):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    before = {name: (tmp_path / "build" / name).read_bytes() for name in ("accepted.json", "report.json", "profile.parquet")}
    run(tmp_path)
    assert before == {name: (tmp_path / "build" / name).read_bytes() for name in before}
    profile = pl.read_parquet(tmp_path / "build" / "profile.parquet")
    assert sorted(set(profile["day"])) == ["2026-01-01", "2026-01-02"]


def test_a_refused_day_is_not_accepted_nor_kept_and_takes_the_acceptance_back(tmp_path, judged, monkeypatch):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    days.write(tmp_path / "events", 2, days.frame(60, 2))
    finding = Finding("2026-01-03", "click", "critical", "is odd; mend it")
    monkeypatch.setattr(expectations, "judge", lambda *_: [finding])
    for _ in range(2):
        with pytest.raises(ValidationError, match=r"2026-01-03 column click: is odd; mend it\. What to do: .*amtl skip-day 2026-01-03"):
            run(tmp_path)
        assert not (tmp_path / "build" / "accepted.json").exists()
    assert json.loads((tmp_path / "build" / "report.json").read_text())["refused"] == ["2026-01-03"]
    assert len(list((tmp_path / "cache" / "validate").iterdir())) == 2


def test_where_days_are_compared_the_message_says_how_not_to(tmp_path, monkeypatch):
    days.days(tmp_path / "events", 1)
    jump = next(check for check in checks(days.events(), ValidateParams()) if check.figure == "volume_jump")
    monkeypatch.setattr(expectations, "judge", lambda *_: [Finding("2026-01-01", "", "critical", f"{jump.found}; {jump.remedy}")])
    with pytest.raises(ValidationError, match=r"amtl skip-day .* or, where days are not alike, say compare_days: false under events"):
        run(tmp_path)


def test_many_reasons_are_numbered_and_the_rest_is_in_the_report(tmp_path, monkeypatch):
    days.days(tmp_path / "events", 1)
    findings = [Finding("2026-01-01", f"c{number}", "critical", "bad") for number in range(25)]
    monkeypatch.setattr(expectations, "judge", lambda *_: findings)
    with pytest.raises(ValidationError, match=r"25 reasons: \(1\) 2026-01-01 column c0: bad; .*and 5 more, all of them in .*report\.json"):
        run(tmp_path)
    assert len(json.loads((tmp_path / "build" / "report.json").read_text())["problems"]) == 25


def test_a_warning_is_reported_and_remembered(tmp_path, monkeypatch):
    days.days(tmp_path / "events", 1)
    finding = Finding("2026-01-01", "item", "warning", "looks thin")
    monkeypatch.setattr(expectations, "judge", lambda *_: [finding])
    assert run(tmp_path)["warnings"] == run(tmp_path)["warnings"] == ["2026-01-01 column item: looks thin"]


def test_a_skipped_day_is_not_judged_and_a_mended_one_is(tmp_path, judged):
    parts = days.days(tmp_path / "events", 3)
    skipped = SkippedDays().skip(parts[1], "counted twice", datetime(2026, 2, 1, tzinfo=UTC))
    assert run(tmp_path, skipped=skipped)["validated"] == ["2026-01-01", "2026-01-03"]
    entry = {"day": "2026-01-02", "digest": parts[1].digest, "why": "counted twice"}
    assert accepted(tmp_path)["skipped"] == [entry]
    assert json.loads((tmp_path / "build" / "report.json").read_text())["skipped"] == [entry]
    days.write(tmp_path / "events", 1, days.frame(60, 1, seed=3))
    assert run(tmp_path, skipped=skipped)["validated"] == ["2026-01-02"]
    assert accepted(tmp_path)["skipped"] == []


def test_nothing_is_left_when_every_day_is_skipped(tmp_path, judged):
    (part,) = days.days(tmp_path / "events", 1)
    skipped = SkippedDays().skip(part, "broken", datetime(2026, 2, 1, tzinfo=UTC))
    with pytest.raises(DataError, match=r"every day is skipped.*--undo"):
        run(tmp_path, skipped=skipped)


def test_a_changed_suite_judges_all_days_anew(tmp_path, judged):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    suite = Suite((Entry("entry 1", "expect_column_values_to_not_be_null", {"column": "user"}),))
    assert len(run(tmp_path, suite=suite)["validated"]) == 2
    assert run(tmp_path, suite=suite)["validated"] == []


def test_another_great_expectations_judges_all_days_anew(tmp_path, judged, monkeypatch):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    monkeypatch.setattr("amtl.validation.verdicts.version", lambda package: "0")
    assert len(run(tmp_path)["validated"]) == 2


def test_days_whose_times_differ_in_kind_are_refused_together(tmp_path, judged):
    days.days(tmp_path / "events", 1)
    days.write(tmp_path / "events", 1, days.frame(60, 1).with_columns(at=pl.lit(1_767_300_000)))
    with pytest.raises(DataError, match="epoch seconds"):
        run(tmp_path)
    assert not (tmp_path / "build" / "accepted.json").exists()


def test_great_expectations_is_not_imported_when_no_day_is_new(tmp_path, judged):
    days.days(tmp_path / "events", 2)
    run(tmp_path)
    script = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(days.__file__).rsplit("/", 1)[0]!r})
        import days
        from amtl.data.events import partitions
        from amtl.validation.skipped import SkippedDays
        from amtl.validation.suite import Suite
        from amtl.validation.validate import validate
        from amtl.params import ValidateParams
        root = Path({str(tmp_path)!r})
        params = ValidateParams(label_rate=(0.05, 0.95))
        report = validate(partitions(root / "events"), SkippedDays(), Suite(), days.events(), params, root / "cache", root / "build")
        assert len(report["reused"]) == 2, report
        assert "great_expectations" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)
