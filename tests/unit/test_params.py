"""Whatever params.yaml holds, the answer is settings or one ParamsError that names the key."""

import contextlib
import copy
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from amtl.budgets import parse_budget
from amtl.errors import ParamsError
from amtl.params import FieldParams, Params, Section, load, parse

MINIMAL = {
    "events": {"name": "tiny", "label": "click", "time": "at", "fields": [{"name": "user"}, {"name": "price", "kind": "number"}]},
    "register": {"name": "tiny"},
}
GIB = 2**30


def changed(key, value):
    """The minimal settings with one dotted key set."""
    raw = copy.deepcopy(MINIMAL)
    *sections, last = key.split(".")
    place = raw
    for section in sections:
        place = place[int(section)] if isinstance(place, list) else place.setdefault(section, {})
    place[last] = value
    return raw


def keys(model: type[Section], prefix: str = ""):
    """Every dotted key below a section, and whether it is a section itself."""
    for name, info in model.model_fields.items():
        key = prefix + (info.alias or name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield key, True
            yield from keys(info.annotation, key + ".")
        else:
            yield key, False


ALL = dict(keys(Params)) | {f"events.fields.1.{name}": False for name in FieldParams.model_fields}
SECTIONS = [key for key, section in ALL.items() if section]
# Any text will do for these, so that not every wrong value below is wrong for them.
TEXT = {"events.label", "events.time", "events.split.column", "events.fields.1.name", "events.name", "register.name"}


def test_the_minimal_settings_are_filled_with_defaults():
    parsed = parse(MINIMAL)
    assert (parsed.train.dim, parsed.search.sizes, parsed.validate_.min_rows) == (16, "auto", 1)
    assert [field.name for field in parsed.events.embedded] == ["user"]
    assert [field.name for field in parsed.events.numbers] == ["price"]


def test_the_repository_s_own_file_is_accepted(request):
    assert load(request.config.rootpath / "params.yaml").register_.name


def test_settings_are_frozen():
    with pytest.raises(ValueError):
        parse(MINIMAL).train.epochs = 3


def test_table_order_is_single_valued_fields_first():
    raw = changed("events.fields", [{"name": "tags", "kind": "ids"}, {"name": "n", "kind": "number"}, {"name": "user"}])
    assert [field.name for field in parse(raw).events.embedded] == ["user", "tags"]


@pytest.mark.parametrize("section", ["", *SECTIONS, "events.fields.1"])
def test_an_unknown_key_is_named_in_full(section):
    key = f"{section}.unheard_of".lstrip(".")
    with pytest.raises(ParamsError, match=rf"{key} is not a known key"):
        parse(changed(key, 1))


@pytest.mark.parametrize(("typo", "meant"), [("train.epoch", "epochs"), ("compress.buget", "budget"), ("tran", "train")])
def test_a_near_miss_is_answered_with_the_key_that_was_meant(typo, meant):
    with pytest.raises(ParamsError, match=f"{typo} is not a known key; did you mean {meant}"):
        parse(changed(typo, 1))


@pytest.mark.parametrize("name", ["float", "int", "str"])
def test_a_key_named_like_a_type_is_still_named(name):
    with pytest.raises(ParamsError, match=rf"train\.{name} is not a known key"):
        parse(changed(f"train.{name}", 1))


@pytest.mark.parametrize("key", sorted(set(ALL) - TEXT))
@pytest.mark.parametrize(
    "value", [object, [object], -math.inf, math.nan, "\u0000", "wörd 🦆"], ids=["object", "list", "-inf", "nan", "nul", "text"]
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(key, value):
    with pytest.raises(ParamsError) as caught:
        parse(changed(key, value))
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["events.name", "register.name"])
@pytest.mark.parametrize("value", ["", "../up", "a b", "-dash", "näme", 3, None, "a/b", "a\n"])
def test_a_name_is_letters_digits_and_dashes(key, value):
    with pytest.raises(ParamsError, match=key):
        parse(changed(key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.epochs", 10.0),
        ("train.epochs", "10"),
        ("train.epochs", True),
        ("train.epochs", 0),
        ("train.epochs", 10**400),
        ("train.seed", 2**64),
        ("train.seed", -1),
        ("train.dim", 1),
        ("train.dim", 1025),
        ("train.dropout", 1.0),
        ("train.learning_rate", math.inf),
        ("train.learning_rate", 10**400),
        ("train.device", "gpu"),
        ("train.hidden", ["8"]),
        ("train.hidden", [8, 0]),
        ("train.hidden", "8"),
        ("train.batch_norm", 1),
        ("search.sizes", "Auto"),
        ("search.ladder", [0.2, 0.4]),
        ("search.ladder", [0.4, 0.4]),
        ("search.ladder", []),
        ("search.ladder", [1.0]),
        ("validate.label_rate", [0.9, 0.1]),
        ("validate.label_rate", [0.1, 1.1]),
        ("validate.label_rate", [math.nan, 0.5]),
        ("validate.label_rate", [0.1]),
        ("validate.volume_jump", [8, 3]),
        ("validate.max_duplicates", [math.nan, 0.5]),
        ("validate.new_values_jump", [-0.1, 0.5]),
        ("validate.max_quarantined", 1.1),
        ("events.hours_off_day", -1),
        ("compress.budget", 0),
        ("compress.budget", True),
        ("compress.budget", "40 potatoes"),
        ("compress.budget", "Auto"),
        ("compress.precision", "fp64"),
        ("compress.tolerance.auc", -0.001),
        ("compress.finetune.distillation", 1.5),
        ("compress.finetune.rounds", 0),
        ("compress.finetune", {"born_again": True, "distillation": 0}),
        ("events.split.test", 0.0),
        ("events.split.test", 0.95),
        ("events.split.column", "part"),
        ("events.fields", []),
        ("events.fields", [{"name": "price", "kind": "number"}]),
        ("events.fields", [{"name": "user"}, {"name": "user"}]),
        ("events.fields", [{"name": "click"}]),
        ("events.fields", [{"name": "at"}]),
        ("events.fields.1.range", [2, 1]),
        ("events.fields.1.range", [math.nan, 1]),
        ("events.fields.0.range", [0, 1]),
        ("events.time", None),
    ],
)
def test_an_impossible_value_is_refused_by_name(key, value):
    section = key.split(".")[0]
    with pytest.raises(ParamsError) as caught:
        parse(changed(key, value))
    assert section in str(caught.value)


@pytest.mark.parametrize("key", ["events", "register", "events.name", "events.label", "events.fields", "register.name"])
def test_a_missing_key_is_named(key):
    raw = copy.deepcopy(MINIMAL)
    *sections, last = key.split(".")
    del (raw[sections[0]] if sections else raw)[last]
    with pytest.raises(ParamsError, match=f"{key} is missing"):
        parse(raw)


def test_all_problems_are_told_at_once():
    raw = changed("train.epochs", 0)
    raw["compress"] = {"budget": "much"}
    with pytest.raises(ParamsError) as caught:
        parse(raw)
    assert "train.epochs" in str(caught.value)
    assert "compress.budget" in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, "1e999", "40%"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(key=st.sampled_from(sorted(ALL)), value=anything)
def test_any_value_is_accepted_or_refused_in_one_line(key, value):
    with contextlib.suppress(ParamsError):
        assert isinstance(parse(changed(key, value)), Params)


@settings(max_examples=200, deadline=None)
@given(raw=anything)
def test_any_document_is_accepted_or_refused(raw):
    with pytest.raises(ParamsError):
        parse(raw)


@settings(max_examples=100, deadline=None)
@given(section=st.sampled_from(["", *SECTIONS]), key=st.text(min_size=1, max_size=12), value=anything)
def test_any_unknown_key_is_refused(section, key, value):
    if f"{section}.{key}".lstrip(".") in ALL or "." in key:
        return
    with pytest.raises(ParamsError, match="is not a known key"):
        parse(changed(f"{section}.{key}".lstrip("."), value))


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 2026-13-45",
        "a: " + "9" * 5000,
        "[" * 3000,
        "? [1]\n: 2",
        "a: !!python/object:os.system {}",
        "a: b: c",
        "\t",
        "- 1",
        "3",
        "",
    ],
    ids=["open", "date", "digits", "deep", "key", "python", "colons", "tab", "list", "number", "empty"],
)
def test_a_file_that_is_no_settings_is_refused(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        load(tmp_path / "params.yaml")


def test_a_missing_file_a_folder_and_bytes_are_refused(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(ParamsError, match=r"exist|read|YAML"):
            load(path)


def test_a_file_is_read(tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed("train.hidden", [4, 2])))
    assert load(tmp_path / "params.yaml").train.hidden == (4, 2)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (0.4, 400),
        (1.0, 1000),
        (1e-9, 0),
        (1, 1),
        (40_000_000, 40_000_000),
        (4e7, 40_000_000),
        ("40%", 400),
        ("12.5 %", 125),
        ("100%", 1000),
        ("0.4", 400),
        (".4", 400),
        ("1", 1),
        ("4e7", 40_000_000),
        ("4.0e7", 40_000_000),
        ("1e-1", 100),
        ("512", 512),
        ("512 B", 512),
        ("40MB", 40_000_000),
        ("40 mb", 40_000_000),
        (" 1.5 KiB ", 1536),
        ("2GiB", 2 * GIB),
        ("3gb", 3 * 10**9),
    ],
)
def test_a_budget_is_a_share_or_bytes(budget, expected):
    assert parse_budget(budget, 1000) == expected


BAD_BUDGETS = [
    0,
    -1,
    0.0,
    -0.4,
    2.5,
    math.nan,
    math.inf,
    True,
    "",
    "%",
    "MB",
    "-4MB",
    "4MBB",
    "4 M B",
    "101%",
    "200%",
    "0%",
    "0",
    "0.5B",
    ".",
    "1.2.3",
]
BAD_BUDGETS += [
    ".e5",
    "1e5.5",
    "1e400",
    "1e400MB",
    "1e300GB",
    "9" * 5000,
    "4\u212aB",
    "4K\u0130B",
    "\u0664MB",
    "4,000",
    "nan",
    "inf",
    "0x10",
]


@pytest.mark.parametrize("budget", BAD_BUDGETS)
def test_a_budget_that_is_neither_is_refused(budget):
    with pytest.raises(ValueError, match="share of the dense table"):
        parse_budget(budget, 1000)
    with pytest.raises(ParamsError, match=r"compress\.budget"):
        parse(changed("compress.budget", budget))


@settings(max_examples=300, deadline=None)
@given(budget=st.text(alphabet="0123456789.e+-%KMGiB \u212a\u0664", max_size=9) | st.floats() | st.integers())
def test_any_budget_is_bytes_or_a_value_error(budget):
    try:
        assert parse_budget(budget, 1000) >= 0
    except ValueError:
        return


@pytest.mark.parametrize(
    ("count", "message"),
    [
        ({"max_rows": {"nowhere": 3}}, "count.max_rows.nowhere names no field"),
        ({"max_rows": {"price": 3}}, "count.max_rows.price names no field"),
        ({"max_rows": 0}, "count.max_rows: must be null"),
        ({"max_rows": True}, "count.max_rows: must be null"),
        ({"max_rows": {"user": 1.5}}, "count.max_rows: must be null"),
        ({"max_rows": {7: 3}}, "count.max_rows: must be null"),
        ({"half_life": 0}, "count.half_life"),
        ({"half_life": math.inf}, "count.half_life"),
    ],
    ids=str,
)
def test_what_counting_cannot_do_is_refused_by_its_key(count, message):
    with pytest.raises(ParamsError, match=message):
        parse(MINIMAL | {"count": count})


def test_a_cap_is_for_all_fields_or_for_some():
    both = parse(MINIMAL | {"count": {"max_rows": 5}}), parse(MINIMAL | {"count": {"max_rows": {"user": 7}}})
    assert [settings.count.caps(settings.events) for settings in both] == [
        {field.name: 5 for field in both[0].events.embedded},
        {"user": 7},
    ]


def test_there_is_no_decay_without_time():
    timeless = MINIMAL | {"events": {**MINIMAL["events"], "time": None, "split": {"kind": "random"}}}
    assert parse(timeless | {"count": {"half_life": None}}).count.half_life is None
    with pytest.raises(ParamsError, match=r"count\.half_life needs events\.time"):
        parse(timeless | {"count": {"half_life": 7.0}})
