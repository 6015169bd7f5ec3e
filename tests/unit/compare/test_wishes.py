import pytest
from toy import toy

from amtl.compare.methods import ALL
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
    assert [budget.label for budget in widths] == [f"width {width}" for width in (16, 8, 4, 2, 1)]
    assert [budget.bytes for budget in widths] == [toy().vocabulary.rows * width * 4 for width in (16, 8, 4, 2, 1)]


def test_a_seeds_settings_search_for_all_selectors_and_quick_ones_train_little():
    settings = toy().settings.model_copy(update={"search": toy().settings.search.model_copy(update={"sizes": "paper"})})
    whole, quick = settings_of(settings, 7, False), settings_of(settings, 7, True)
    assert (whole.train.seed, whole.search.sizes, whole.train.epochs) == (7, "auto", settings.train.epochs)
    assert (quick.train.epochs, quick.compress.finetune.epochs) == (1, 1)
    assert whole.compress == settings.compress


def test_quick_data_are_the_newest_rows(monkeypatch):
    monkeypatch.setattr("amtl.compare.wishes.QUICK_ROWS", 50)
    given = toy()
    data = quick_data(Data(given.vocabulary, given.train, given.validation, given.validation))
    assert len(data.train) == len(data.test) == 50
    assert data.train.labels.equal(given.train.labels[-50:])


def test_the_methods_digest_is_stable():
    assert methods_digest() == methods_digest()
