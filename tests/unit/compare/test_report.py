import csv
import json
import re

import pytest
from outcomes import comparison, control, outcome

from amtl.compare import report
from amtl.compare.recommendation import recommend

GIVEN = comparison(
    *(control(seed, auc=0.8 + seed / 100) for seed in (0, 1)),
    *(
        outcome("auto", budget, size, bytes=size - 1, seed=seed, chosen="rule")
        for budget, size in (("20%", 200), ("5%", 50))
        for seed in (0, 1)
    ),
    *(outcome("hashing", budget, size, seed=seed, auc=0.7) for budget, size in (("20%", 200),) for seed in (0, 1)),
    outcome("hashing", "5%", 50, failure="its smallest table takes 51 bytes"),
    outcome("fixed-distilled", "width 4", 250, bytes=250),
    logistic=0.6123,
    name="clicks & taps",
    seeds=2,
)


@pytest.fixture(scope="module")
def html():
    return report.render(GIVEN, recommend(GIVEN))


def test_the_page_stands_alone(html):
    assert "<script" not in html
    assert not re.search(r'(src|href)="(?!#)', html)
    assert html.count("<svg") == 2
    assert "clicks &amp; taps" in html
    assert report.render(GIVEN, recommend(GIVEN)) == html


def test_the_page_shows_recommendation_warnings_baseline_and_every_method(html):
    advice = recommend(GIVEN)
    assert advice.sentence in html
    assert all(warning in html for warning in advice.warnings)
    assert "0.6123" in html
    for words in ("auto (rule)", "hashing", "fixed-distilled (width 4)", "Budget 20%: 200 bytes", "its smallest table takes 51 bytes"):
        assert words in html


def test_means_stand_with_their_spread(html):
    assert "0.8050 ±0.0071" in html


def test_one_seed_has_no_spread():
    given = comparison(control(), outcome("rule", auc=0.79))
    assert "±" not in re.sub(r"<svg.*?</svg>", "", report.render(given, recommend(given)), flags=re.DOTALL).replace(report.NOTE, "")


def test_methods_of_their_own_size_alone_make_a_page_without_pictures():
    given = comparison(control(), outcome("paper", "", 500, bytes=500))
    html = report.render(given, recommend(given))
    assert "<svg" not in html
    assert "paper" in html


def test_the_files(tmp_path):
    advice = report.write(GIVEN, tmp_path)
    with (tmp_path / report.CSV).open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(GIVEN.outcomes)
    failed = next(line for line in lines if line["failure"])
    assert (failed["method"], failed["bytes"], failed["auc"]) == ("hashing", "", "")
    auto = next(line for line in lines if line["method"] == "auto")
    assert (auto["chosen"], auto["budget"], auto["bytes"], float(auto["saved"])) == ("rule", "20%", "199", pytest.approx(0.801))
    stored = json.loads((tmp_path / report.JSON).read_text())
    assert stored["recommendation"] == advice.sentence
    assert len(stored["outcomes"]) == len(GIVEN.outcomes)
    assert advice.sentence in (tmp_path / report.HTML).read_text()


def test_metrics_have_names_that_mlflow_takes():
    found = report.metrics(GIVEN)
    assert found["auto/20pct/bytes"] == 199
    assert found["control/auc"] == pytest.approx(0.805)
    assert found["logistic/auc"] == 0.6123
    assert all(re.fullmatch(r"[\w\-. :/]+", name) for name in found)
    (odd,) = (
        name for name in report.metrics(comparison(control(), outcome("rule", "1e+6"))) if name.startswith("rule/") and "lost" in name
    )
    assert odd == "rule/1e_6/auc_lost"
