"""A parent's rows go to the same values, whatever rows these have now."""

from dataclasses import replace

import polars as pl
import pytest
import torch
from toy import equal_weights, frame, silent, toy, vocabulary_of, with_settings

from amtl.data.batches import Scaling, encode
from amtl.data.vocabulary import Vocabulary
from amtl.model.backbones import BACKBONES
from amtl.model.ctr_model import TABLE, ModelConfig, build, weights_of
from amtl.params import EventsParams
from amtl.training.loop import FitSettings, Trainer
from amtl.training.optimizers import MOMENTS, Optimizers
from amtl.training.state import field_names, read_state, write_state
from amtl.training.train import train
from amtl.training.warm_start import correspond, warm_start

CPU = torch.device("cpu")
FIT = FitSettings(epochs=1, patience=1, batch_size=100, learning_rate=0.01, seed=0)


@pytest.fixture(scope="module")
def problem():
    return toy()


@pytest.fixture(scope="module")
def folder(problem, tmp_path_factory):
    """The state of a model after a few steps."""
    path, model = tmp_path_factory.mktemp("parent") / "state", problem.model()
    optimizers = Optimizers(model, 0.01)
    Trainer(model, FIT, CPU, problem.unknown_rows_F, optimizers=optimizers, log=silent).fit(problem.train, problem.validation)
    write_state(path, model, optimizers, problem.vocabulary, problem.settings.events)
    return path


@pytest.fixture
def parent(folder):
    return read_state(folder)


def fresh(problem, vocabulary, seed=7):
    torch.manual_seed(seed)
    model = build(problem.config, vocabulary.rows, 0.01)
    return model, Optimizers(model, 0.01)


def by_value(vocabulary):
    """(field, value) to table row."""
    return {(field, value): row for row, field, value in vocabulary.table_rows().select("table_row", "field", "value").iter_rows()}


def grown(vocabulary, extra=3):
    """The vocabulary after a day with new values in two fields; rows of all fields but the first move."""
    new = [("user", str(1000 + index), 5) for index in range(extra)] + [("item", "new item", 2)]
    counts = vocabulary.frame.select("field", "value", "count")
    return vocabulary.grow(pl.concat([counts, pl.DataFrame(new, schema=counts.schema, orient="row")]))


def permuted(vocabulary):
    """The same values in rows in another order, the unknown rows first."""
    shuffled = vocabulary.frame.filter(pl.col("row") > 0).with_columns((pl.col("row").max().over("field") + 1 - pl.col("row")).alias("row"))
    return Vocabulary(pl.concat([vocabulary.frame.filter(pl.col("row") == 0), shuffled]).sort("field", "row"), vocabulary.types)


def shrunk(vocabulary):
    """Without the values of even rows, as if the parent had known more."""
    kept = vocabulary.frame.filter((pl.col("row") == 0) | (pl.col("row") % 2 == 1))
    return Vocabulary(kept.with_columns(pl.int_range(pl.len()).over("field").alias("row")).cast({"row": pl.Int64}), vocabulary.types)


@pytest.mark.parametrize("change", [lambda vocabulary: vocabulary, grown, permuted, shrunk], ids=["same", "grown", "permuted", "shrunk"])
def test_every_carried_row_and_moment_is_bit_equal_by_value(problem, parent, change):
    vocabulary = change(problem.vocabulary)
    model, optimizers = fresh(problem, vocabulary)
    report = warm_start(model, optimizers, parent, vocabulary, parent.fields)
    theirs, ours, moments = by_value(problem.vocabulary), by_value(vocabulary), optimizers.tensors()
    for value, row in ours.items():
        if value not in theirs:
            continue
        assert torch.equal(model.embedding.weight[row], parent.weights[TABLE][theirs[value]])
        for moment in MOMENTS:
            assert torch.equal(moments[f"{TABLE}.{moment}"][row], parent.moments[f"{TABLE}.{moment}"][theirs[value]])
    assert report["backbone"] == "carried"
    expected = {name: tensor for name, tensor in parent.weights.items() if name.startswith("backbone.")}
    assert equal_weights({name: tensor for name, tensor in weights_of(model).items() if name.startswith("backbone.")}, expected)
    assert float(moments[f"{TABLE}.step"]) == float(parent.moments[f"{TABLE}.step"]) == 6


@pytest.mark.parametrize("change", [lambda vocabulary: vocabulary, grown, permuted, shrunk], ids=["same", "grown", "permuted", "shrunk"])
def test_the_report_counts_by_field_and_adds_up(problem, parent, change):
    vocabulary = change(problem.vocabulary)
    report = warm_start(*fresh(problem, vocabulary), parent, vocabulary, parent.fields)["fields"]
    theirs, ours = by_value(problem.vocabulary), by_value(vocabulary)
    for field, tally in report.items():
        mine, parents = {value for own, value in ours if own == field}, {value for own, value in theirs if own == field}
        assert tally == {"carried": len(mine & parents), "new": len(mine - parents), "dropped": len(parents - mine), "rows": len(mine)}
        assert tally["carried"] + tally["new"] == vocabulary.sizes[field]
        assert tally["carried"] + tally["dropped"] == problem.vocabulary.sizes[field]
    assert report.keys() == vocabulary.sizes.keys()


def test_a_new_value_starts_near_its_field_s_unknown_row_without_moments(problem, parent):
    vocabulary = grown(problem.vocabulary)
    model, optimizers = fresh(problem, vocabulary)
    noise = model.embedding.weight.detach().clone()
    warm_start(model, optimizers, parent, vocabulary, parent.fields)
    ours, theirs = by_value(vocabulary), by_value(problem.vocabulary)
    for value in (("user", "1000"), ("user", "1002"), ("item", "new item")):
        unknown = parent.weights[TABLE][theirs[value[0], None]]
        torch.testing.assert_close(model.embedding.weight[ours[value]], unknown + noise[ours[value]], rtol=0, atol=0)
        assert not optimizers.tensors()[f"{TABLE}.exp_avg"][ours[value]].any()


def test_a_carried_model_predicts_what_the_parent_did(problem, parent):
    model, optimizers = fresh(problem, problem.vocabulary)
    warm_start(model, optimizers, parent, problem.vocabulary, parent.fields)
    assert torch.equal(model(problem.validation), parent.model()(problem.validation))


def test_training_goes_on_as_if_it_had_not_stopped(problem, folder):
    """Weights and moments carried: the same steps lead to the same weights as without a stop."""
    whole = problem.model()
    optimizers = Optimizers(whole, 0.01)
    Trainer(whole, FIT, CPU, problem.unknown_rows_F, optimizers=optimizers, log=silent).fit(problem.train, problem.validation)
    carried, own = fresh(problem, problem.vocabulary)
    warm_start(carried, own, read_state(folder), problem.vocabulary, field_names(problem.settings.events))
    for model, held in ((whole, optimizers), (carried, own)):
        trainer = Trainer(model, replace(FIT, keep_last=True, epochs=2), CPU, problem.unknown_rows_F, optimizers=held, log=silent)
        trainer.fit(problem.train, problem.validation)
    assert equal_weights(weights_of(whole), weights_of(carried))


def test_another_width_carries_nothing_and_says_so(parent):
    wide = toy(dim=8)
    model, optimizers = fresh(wide, wide.vocabulary)
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    report = warm_start(model, optimizers, parent, wide.vocabulary, parent.fields)
    assert equal_weights(weights_of(model), before)
    assert optimizers.tensors() == {}
    assert "6 to 8" in report["backbone"]
    for field, tally in report["fields"].items():
        rows = wide.vocabulary.sizes[field]
        assert tally == {"carried": 0, "new": rows, "dropped": rows, "rows": rows}


@pytest.mark.parametrize("train", [{"hidden": [4]}, {"backbone": "dlrm"}], ids=str)
def test_other_layers_carry_the_table_alone(problem, parent, train):
    changed = with_settings(problem, train=train)
    model, optimizers = fresh(changed, problem.vocabulary)
    report = warm_start(model, optimizers, parent, problem.vocabulary, parent.fields)
    assert torch.equal(model.embedding.weight, parent.weights[TABLE])
    assert optimizers.tensors() == {}
    assert report["backbone"].startswith("fresh")


def test_another_dropout_carries_everything(problem, parent):
    changed = with_settings(problem, train={"dropout": 0.5})
    assert warm_start(*fresh(changed, problem.vocabulary), parent, problem.vocabulary, parent.fields)["backbone"] == "carried"


def events_with(problem, fields):
    raw = problem.settings.events.model_dump(mode="json")
    return EventsParams.model_validate({**raw, "fields": fields(raw["fields"])})


@pytest.mark.parametrize(
    "fields",
    [
        lambda fields: [fields[1], fields[0], *fields[2:]],
        lambda fields: [{"name": "fresh"}, *fields],
        lambda fields: fields[1:],
        lambda fields: [{"name": "fresh"}, *fields[1:]],
    ],
    ids=["reordered", "one more", "one less", "another"],
)
def test_rows_find_their_values_when_fields_change(problem, parent, fields):
    events = events_with(problem, fields)
    rows = frame(600).with_columns(pl.col("item").alias("fresh"))
    vocabulary = vocabulary_of(events, rows)
    config = replace(problem.config, fields=len(events.embedded))
    model = build(config, vocabulary.rows, 0.01)
    report = warm_start(model, Optimizers(model, 0.01), parent, vocabulary, field_names(events))
    ours, theirs = by_value(vocabulary), by_value(problem.vocabulary)
    for value in ours.keys() & theirs.keys():
        assert torch.equal(model.embedding.weight[ours[value]], parent.weights[TABLE][theirs[value]])
    assert report["backbone"].startswith("carried")
    for field in {field.name for field in events.embedded} | set(problem.vocabulary.sizes):
        tally = report["fields"][field]
        assert tally["carried"] + tally["new"] == tally["rows"] == vocabulary.sizes.get(field, 0)
        assert tally["carried"] + tally["dropped"] == problem.vocabulary.sizes.get(field, 0)


@pytest.fixture(scope="module", params=BACKBONES)
def trained(request, tmp_path_factory):
    """A problem, and the state of a model of it after a few steps."""
    chosen = toy(request.param)
    path, model = tmp_path_factory.mktemp(request.param) / "state", chosen.model()
    optimizers = Optimizers(model, 0.01)
    Trainer(model, FIT, CPU, chosen.unknown_rows_F, optimizers=optimizers, log=silent).fit(chosen.train, chosen.validation)
    write_state(path, model, optimizers, chosen.vocabulary, chosen.settings.events)
    return chosen, read_state(path)


def with_fields(problem, fields):
    """The problem under other fields, with two more columns that they may name: its rows, vocabulary and a fresh model."""
    events = events_with(problem, fields)
    rows = [part.with_columns(fresh=pl.col("item"), height=pl.col("age") * 2) for part in (frame(600), problem.raw)]
    vocabulary = vocabulary_of(events, rows[0])
    scaling = Scaling({"age": 40.0, "height": 80.0}, {"age": 10.0, "height": 20.0})
    config = ModelConfig.of(events, problem.settings.train)
    torch.manual_seed(5)
    model = build(config, vocabulary.rows, 0.01)
    return events, vocabulary, model, encode(rows[1], events, vocabulary.lookup, scaling)


@pytest.mark.parametrize(
    "fields",
    [
        lambda fields: [fields[3], fields[1], fields[0], fields[2]],
        lambda fields: [{"name": "fresh"}, *fields],
        lambda fields: [{"name": "height", "kind": "number"}, *fields],
        lambda fields: [fields[1] | {"optional": False}, fields[0], fields[2], fields[3] | {"range": [0, 200]}],
    ],
    ids=["reordered", "a field more", "a number more", "reordered, other bounds"],
)
def test_as_long_as_no_field_is_lost_the_model_predicts_what_the_parent_did(trained, fields):
    problem, parent = trained
    events, vocabulary, model, batch = with_fields(problem, fields)
    report = warm_start(model, Optimizers(model, 0.01), parent, vocabulary, field_names(events))
    torch.testing.assert_close(model.eval()(batch), parent.model().eval()(problem.validation))
    assert report["inputs"]["dropped"] == 0
    assert (report["backbone"] == "carried") == (report["inputs"]["new"] == 0)


def test_moments_of_shared_columns_and_rows_are_carried_and_others_are_zero(trained):
    problem, parent = trained
    events, vocabulary, model, _ = with_fields(problem, lambda fields: [{"name": "fresh"}, *fields])
    optimizers = Optimizers(model, 0.01)
    warm_start(model, optimizers, parent, vocabulary, field_names(events))
    moments = optimizers.tensors()
    first = f"backbone.{'top' if problem.config.backbone == 'dlrm' else 'layers'}.0.weight"
    assert moments.keys() == parent.moments.keys()
    for moment in MOMENTS:
        ours, theirs = moments[f"{first}.{moment}"], parent.moments[f"{first}.{moment}"]
        assert ours.shape[1] > theirs.shape[1]
        assert sorted(column for column in ours.T.tolist() if any(column)) == sorted(column for column in theirs.T.tolist() if any(column))
        rows, parents = by_value(vocabulary), by_value(problem.vocabulary)
        for value in rows:
            expected = parent.moments[f"{TABLE}.{moment}"][parents[value]] if value in parents else torch.zeros(6)
            assert torch.equal(moments[f"{TABLE}.{moment}"][rows[value]], expected)
    assert all(torch.equal(moments[name], tensor) for name, tensor in parent.moments.items() if name.endswith(".step"))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("user", {"type": "string"}),
        ("item", {"type": "integer"}),
        ("age", {"kind": "id", "type": "integer"}),
        ("user", {"kind": "number"}),
    ],
    ids=["integer to text", "text to integer", "number to id", "id to number"],
)
def test_a_field_of_another_type_is_a_new_one(trained, name, change):
    """Nothing of it is carried, neither rows nor columns; the others are."""
    problem, parent = trained
    events = events_with(problem, lambda fields: [field | change if field["name"] == name else field for field in fields])
    rows = frame(600).with_columns(age=pl.col("age").fill_nan(0).cast(pl.Int64), item=pl.col("item").str.slice(5).cast(pl.Int64))
    vocabulary = vocabulary_of(events, rows)
    model = build(ModelConfig.of(events, problem.settings.train), vocabulary.rows, 0.01)
    report = warm_start(model, Optimizers(model, 0.01), parent, vocabulary, field_names(events))
    assert report["backbone"].startswith("carried in part")
    assert report["inputs"]["new"] > 0
    assert report["inputs"]["dropped"] > 0
    tally = report["fields"][name]
    assert tally["carried"] == 0
    assert tally["rows"] == vocabulary.sizes.get(name, 0)
    assert tally["dropped"] == problem.vocabulary.sizes.get(name, 0)
    kept = {"user", "tags"} - {name}
    assert all(report["fields"][field]["carried"] == problem.vocabulary.sizes[field] for field in kept)


def test_single_values_and_lists_share_rows_and_columns(trained):
    """The mean of one value is the value."""
    problem, parent = trained
    events = events_with(problem, lambda fields: [fields[0], fields[1] | {"kind": "ids"}, *fields[2:]])
    model = build(ModelConfig.of(events, problem.settings.train), problem.vocabulary.rows, 0.01)
    lists = problem.raw.with_columns(pl.concat_list("item"))
    vocabulary = vocabulary_of(events, frame(600).with_columns(pl.concat_list("item")))
    report = warm_start(model, Optimizers(model, 0.01), parent, vocabulary, field_names(events))
    batch = encode(lists, events, vocabulary.lookup, problem.scaling)
    assert report["backbone"] == "carried"
    torch.testing.assert_close(model.eval()(batch), parent.model().eval()(problem.validation))


def test_a_state_without_types_is_read_as_of_today_s(trained):
    """As states were written before vocabularies said their types."""
    problem, parent = trained
    model, optimizers = fresh(problem, problem.vocabulary)
    report = warm_start(model, optimizers, replace(parent, types={}), problem.vocabulary, parent.fields)
    assert report["backbone"] == "carried"


def test_correspondence_is_one_to_one(problem, parent):
    same = correspond(parent, grown(problem.vocabulary))
    assert len(set(same.ours_C.tolist())) == len(same.ours_C) == len(set(same.parent_C.tolist())) == problem.vocabulary.rows


def test_a_state_survives_the_disk(problem, folder, tmp_path):
    state = read_state(folder)
    assert state.fields == ("user", "item", "tags", "age")
    assert state.config == problem.config
    assert state.vocabulary.equals(problem.vocabulary.frame)
    model = state.model()
    optimizers = Optimizers(model, 0.01)
    optimizers.load(state.moments)
    write_state(tmp_path / "again", model, optimizers, problem.vocabulary, problem.settings.events)
    again = read_state(tmp_path / "again")
    assert equal_weights(again.weights, state.weights)
    assert equal_weights(again.moments, state.moments)


def test_train_reports_a_cold_start_and_a_warm_one(problem, tmp_path):
    lines = []
    cold = train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent)
    assert cold.report["warm_start"]["parent"] == "none"
    assert cold.report["warm_start"]["fields"]["user"] == {"carried": 0, "new": 32, "dropped": 0, "rows": 32}
    assert cold.report["device"] == "cpu"
    cold.write(tmp_path / "state")
    warm = train(problem.settings, problem.vocabulary, problem.train, problem.validation, tmp_path / "state", None, lines.append)
    assert warm.report["warm_start"]["parent"] == "pinned"
    assert warm.report["history"][0]["epoch"] == 0
    last = max(cold.report["history"], key=lambda entry: entry["score"])
    assert warm.report["history"][0]["score"] == last["score"]
    assert "52 rows carried" in lines[0]


def test_train_is_a_function_of_its_inputs(problem):
    again = [train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent) for _ in range(2)]
    assert equal_weights(weights_of(again[0].model), weights_of(again[1].model))
    assert again[0].report == again[1].report
    other = train(
        with_settings(problem, train={"seed": 1}).settings, problem.vocabulary, problem.train, problem.validation, None, None, silent
    )
    assert not equal_weights(weights_of(again[0].model), weights_of(other.model))


def test_a_row_that_a_newcomer_took_over_does_not_start_as_its_predecessor(problem, parent):
    users = problem.vocabulary.frame.filter(pl.col("field") == "user")
    gone = users.filter(pl.col("row") > 0).sort("count", "row")["value"][0]
    counts = problem.vocabulary.frame.select("field", "value", "count").filter(~((pl.col("field") == "user") & (pl.col("value") == gone)))
    newcomer = pl.DataFrame([("user", "777", 10**6)], schema=counts.schema, orient="row")
    vocabulary = problem.vocabulary.grow(pl.concat([counts, newcomer]), max_rows={"user": len(users) - 1})
    ours, theirs = by_value(vocabulary), by_value(problem.vocabulary)
    assert ours["user", "777"] == theirs["user", gone]
    model, optimizers = fresh(problem, vocabulary)
    noise = model.embedding.weight.detach().clone()
    report = warm_start(model, optimizers, parent, vocabulary, parent.fields)
    row = ours["user", "777"]
    torch.testing.assert_close(model.embedding.weight[row], parent.weights[TABLE][theirs["user", None]] + noise[row], rtol=0, atol=0)
    assert not optimizers.tensors()[f"{TABLE}.exp_avg"][row].any()
    assert report["fields"]["user"] == {"carried": len(users) - 1, "new": 1, "dropped": 1, "rows": len(users)}
