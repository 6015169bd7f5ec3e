from pathlib import Path

import pytest
from toy import toy, with_settings

from amtl.compare import wishes
from amtl.compare.methods import ALL
from amtl.compare.results import Budget
from amtl.compare.starts import Data
from amtl.compare.wishes import Wishes, fixed_widths, methods_digest, plan_of, quick_data, settings_of
from amtl.errors import ParamsError
from amtl.params import ToleranceParams


def plan(**wishes):
    given = toy()
    return plan_of(Wishes(**{"budgets": "20%, 5%,300", **wishes}), given.settings, given.vocabulary)


def test_budgets_are_shares_of_the_dense_table_or_bytes():
    dense = toy().vocabulary.rows * 6 * 4
    assert [(budget.label, budget.bytes) for budget in plan().budgets] == [
        ("20%", dense * 20 // 100),
        ("5%", dense * 5 // 100),
        ("300", 300),
    ]


@pytest.mark.parametrize(("budget", "label", "share"), [("30%", "30%", 0.3), (0.3, "30%", 0.3), ("auto", "5%", 0.05)])
def test_the_budget_is_that_of_params_yaml_unless_some_are_named(budget, label, share):
    given = toy()
    settings = given.settings.model_copy(update={"compress": given.settings.compress.model_copy(update={"budget": budget})})
    dense = given.vocabulary.rows * 6 * 4
    assert plan_of(Wishes(), settings, given.vocabulary).budgets == (Budget(label, int(dense * share)),)


def test_a_budget_in_bytes_is_written_in_full():
    given = toy()
    settings = given.settings.model_copy(update={"compress": given.settings.compress.model_copy(update={"budget": 4e7})})
    assert plan_of(Wishes(), settings, given.vocabulary).budgets == (Budget("40000000", 40_000_000),)


def test_budgets_that_come_to_the_same_bytes_are_one():
    """Two runs of one method at one size would train in one folder."""
    assert [budget.label for budget in plan(budgets="0.05,20%,5%,5.0%").budgets] == ["0.05", "20%"]


@pytest.mark.parametrize(("usual", "wish", "precision"), [("fp16", "", "fp16"), ("mixed", "", "int8"), ("fp16", "fp32", "fp32")])
def test_the_precision_is_that_of_params_yaml_where_all_can_write_it(usual, wish, precision):
    given = toy()
    settings = given.settings.model_copy(update={"compress": given.settings.compress.model_copy(update={"precision": usual})})
    assert plan_of(Wishes(precision=wish), settings, given.vocabulary).precision == precision


def test_all_methods_unless_some_are_named_and_seeds_from_the_workspaces_own():
    assert plan().methods == ALL
    assert plan(methods="rule, qr,rule", seeds=3).methods == ("rule", "qr")
    assert plan(seeds=3).seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"budgets": "a lot"}, "--budgets: .*a lot"),
        ({"budgets": ","}, "--budgets"),
        ({"methods": "rule,magic"}, "--methods: magic is no method; there are .*hashing"),
        ({"methods": "control"}, "--methods: control"),
        ({"precision": "mixed"}, "--precision: mixed"),
    ],
)
def test_a_wish_that_cannot_be_met_names_its_option(wishes, said):
    with pytest.raises(ParamsError, match=said):
        plan(**wishes)


def test_another_tolerance_makes_other_runs():
    """What loses nothing is preferred: the tolerance decides what a method chooses."""
    given = toy()
    compress = given.settings.compress.model_copy(update={"tolerance": ToleranceParams(auc=0.01)})
    other = given.settings.model_copy(update={"compress": compress})
    codes = {plan_of(Wishes("20%"), settings, given.vocabulary).code for settings in (given.settings, other)}
    assert len(codes) == 2
    assert plan(seeds=3).code in codes


def test_fixed_widths_halve():
    widths = fixed_widths(toy().vocabulary, 16, "fp32")
    assert [budget.label for budget in widths] == [f"width {width}" for width in (8, 4, 2, 1)]
    assert fixed_widths(toy().vocabulary, 16, "int8")[0].label == "width 16"
    assert [budget.bytes for budget in widths] == [toy().vocabulary.rows * width * 4 for width in (8, 4, 2, 1)]


def test_a_seeds_settings_search_for_all_selectors_and_quick_ones_train_little():
    settings = toy().settings.model_copy(update={"search": toy().settings.search.model_copy(update={"sizes": "paper"})})
    whole, quick = settings_of(settings, 7, False), settings_of(settings, 7, True)
    assert (whole.train.seed, whole.search.sizes, whole.train.epochs) == (7, "auto", settings.train.epochs)
    assert (quick.train.epochs, quick.compress.finetune.epochs) == (1, 1)
    finetune = settings.compress.finetune.model_copy(update={"born_again": True})
    assert whole.compress == settings.compress.model_copy(update={"finetune": finetune})


def test_quick_data_are_the_newest_rows(monkeypatch):
    monkeypatch.setattr("amtl.compare.wishes.QUICK_ROWS", 50)
    given = toy()
    data = quick_data(Data(given.vocabulary, given.train, given.validation, given.validation))
    assert len(data.train) == len(data.test) == 50
    assert data.train.labels.equal(given.train.labels[-50:])


def test_every_module_that_decides_an_outcome_is_in_the_digest(monkeypatch):
    """Those that only plan, run, sum up and show runs are not: a new one has to be put on one side."""
    named = []
    monkeypatch.setattr(wishes, "code_digest", lambda *places: named.extend(places))
    methods_digest()
    showing = {"__init__", "execution", "recommendation", "report", "results", "wishes"}
    here = {path.stem for path in Path(wishes.__file__).parent.iterdir() if path.name != "__pycache__"}
    assert {place.removeprefix("amtl.compare.") for place in named if place.startswith("amtl.compare.")} == here - showing
    assert "amtl.release.evaluate" in named


def test_sizes_for_models_that_are_trained_anew_are_not_compared_where_none_is_unless_they_are_named():
    with_teacher, without = (with_settings(toy(), compress={"finetune": {"distillation": weight}}) for weight in (0.5, 0.0))
    planned = [plan_of(Wishes(), given.settings, given.vocabulary).methods for given in (with_teacher, without)]
    assert planned[0] == ALL
    assert set(ALL) - set(planned[1]) == {"twins-cold"}
    assert plan_of(Wishes(methods="twins-cold"), without.settings, without.vocabulary).methods == ("twins-cold",)


@pytest.mark.parametrize(("distillation", "again"), [(0.5, True), (0.0, False)])
def test_the_control_of_a_comparison_may_be_born_again(distillation, again):
    """As narrower tables that start fresh are taught by it."""
    problem = with_settings(toy(), compress={"finetune": {"distillation": distillation}})
    assert settings_of(problem.settings, 3, False).compress.finetune.born_again is again
