"""A damaged bundle, state or search result is an ArtifactError, whatever is wrong with it."""

import contextlib
import json
import shutil

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy import silent, toy

import amtl
from amtl.errors import ArtifactError
from amtl.files import publish_tensors, read_json, read_tensors, write_manifest
from amtl.packing import bundle
from amtl.sizing.front import Front
from amtl.sizing.sizes import Found
from amtl.training.loop import FitSettings, Trainer
from amtl.training.optimizers import Optimizers
from amtl.training.state import read_state, write_state

FILES = [*sorted(bundle.FILES), "manifest.json"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound bundle in int8 with a basis: every kind of tensor is in it."""
    problem, path = toy("dlrm"), tmp_path_factory.mktemp("sound") / "bundle"
    model = problem.model()
    model.embedder.register_buffer("basis_FDD", torch.eye(6).repeat(3, 1, 1))
    bundle.write(path, problem.contents(model, torch.arange(problem.vocabulary.rows) % 7, "int8"))
    return path


@pytest.fixture
def folder(sound, tmp_path):
    """A copy to damage."""
    return shutil.copytree(sound, tmp_path / "bundle")


def refused(path):
    """Both readers refuse it, in one line."""
    for reader in (amtl.load, bundle.identity):
        with pytest.raises(ArtifactError) as caught:
            reader(path)
        assert "\n" not in str(caught.value)
    return True


def resealed(folder, **entries):
    """The manifest rewritten for the files that are there: what a careless hand, not a broken disk, leaves behind."""
    manifest = {key: value for key, value in read_json(folder / "manifest.json").items() if key != "files"}
    write_manifest(folder, **{**manifest, **entries})
    return folder


def load_refuses(path):
    with pytest.raises(ArtifactError, match=str(path)):
        amtl.load(path)


def test_the_sound_bundle_loads(folder):
    assert amtl.load(resealed(folder)).predict({"user": [1]}).shape == (1,)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_refused(folder, name):
    content = (folder / name).read_bytes()
    for length in sorted({0, 1, len(content) // 2, len(content.rstrip()) - 1}):
        (folder / name).write_bytes(content[:length])
        assert refused(folder)


@pytest.mark.parametrize("name", sorted(bundle.FILES))
def test_a_flipped_bit_is_refused(folder, name):
    content = (folder / name).read_bytes()
    for place in sorted({0, 5, len(content) // 3, len(content) // 2, len(content) - 1}):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (folder / name).write_bytes(damaged)
        assert refused(folder)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    assert refused(folder)


def test_a_further_file_is_refused_even_when_the_manifest_names_it(folder):
    (folder / "more").write_text("")
    assert refused(folder)
    assert refused(resealed(folder))


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_a_file_s_place_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refused(folder)


@pytest.mark.parametrize("name", sorted(bundle.FILES))
def test_links_count_as_what_they_lead_to(folder, tmp_path, name):
    kept = (folder / name).rename(tmp_path / "kept")
    (folder / name).symlink_to(kept)
    assert bundle.identity(folder)
    kept.write_bytes(kept.read_bytes() + b" ")
    assert refused(folder)
    kept.unlink()
    assert refused(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(folder / name)
    assert refused(folder)


def test_what_is_no_folder_is_refused(tmp_path, folder):
    assert refused(tmp_path / "absent")
    assert refused(folder / "table.safetensors")
    assert refused(tmp_path)


@pytest.mark.parametrize("key", ["format", "kind", "events", "scaling", "model", "table", "lineage", "files"])
def test_a_manifest_that_lacks_an_entry_is_refused(folder, key):
    manifest = read_json(folder / "manifest.json")
    del manifest[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert refused(folder)


@pytest.mark.parametrize(("key", "value"), [("format", 1), ("format", "2"), ("format", None), ("kind", "state"), ("kind", [])])
def test_another_format_is_refused_as_such(folder, key, value):
    with pytest.raises(ArtifactError, match="format 2"):
        amtl.load(resealed(folder, **{key: value}))


SOUND = {
    "model": {"dim": 6, "fields": 3, "numbers": 1, "hidden": [8], "backbone": "dlrm", "batch_norm": False, "cross_layers": 3},
    "table": {"rows": 52, "dim": 6},
}
ODD = [-1, 0, 3, 10**6, 2**31, 2**63, 10**30, 1.5, "", "6", None, [], [10**9], [10**30], [-3], {}, True]
WRONG = [(section, key, odd) for section, sound in SOUND.items() for key, value in sound.items() for odd in ODD if odd != value]


@pytest.mark.parametrize(("section", "key", "value"), [wrong for wrong in WRONG if wrong[1] != "batch_norm" or wrong[2] is True])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_manifest_of_odd_numbers_is_refused_before_memory_is_taken(folder, section, key, value):
    described = read_json(folder / "manifest.json")[section]
    assert described[key] == SOUND[section][key]
    load_refuses(resealed(folder, **{section: described | {key: value}}))


@pytest.mark.parametrize("section", ["events", "scaling", "model", "table"])
@pytest.mark.parametrize("value", [None, [], 3, "text", {"odd": 1}], ids=str)
def test_a_section_of_another_kind_is_refused(folder, section, value):
    load_refuses(resealed(folder, **{section: value}))


@pytest.mark.parametrize(
    "scaling", [{"mean": 3}, {"mean": {"age": "x"}}, {"mean": {"age": []}}, {"mean": {"age": None}}, {"odd": {}}], ids=str
)
def test_a_scaling_that_is_no_numbers_is_refused(folder, scaling):
    load_refuses(resealed(folder, scaling=scaling))


def test_events_that_are_not_the_model_s_are_refused(folder):
    events = read_json(folder / "manifest.json")["events"]
    fields = events["fields"]
    for other in (fields[:2], [*fields, {"name": "more"}], [{**fields[0], "name": "other"}, *fields[1:]], [*fields[:3], {"name": "age"}]):
        load_refuses(resealed(folder, events={**events, "fields": other}))


TENSORS = {
    "codes": [torch.zeros(3, dtype=torch.uint8), torch.zeros(0, dtype=torch.uint8), torch.zeros(3), torch.zeros(3, dtype=torch.int8), None],
    "rows": [torch.zeros(19, dtype=torch.uint8), torch.arange(19, dtype=torch.int16) * -1, torch.zeros(19), torch.zeros(0), None],
    "sizes": [torch.full((19,), 7, dtype=torch.uint8), torch.full((19,), -1, dtype=torch.int16), torch.zeros(2, dtype=torch.uint8), None],
    "scales": [torch.ones(3, dtype=torch.uint8), torch.ones(57, dtype=torch.float16), None],
    "bits": [torch.zeros(29, dtype=torch.uint8), torch.full((29,), 0x99, dtype=torch.uint8), torch.zeros(3, dtype=torch.uint8)],
    "basis": [torch.zeros(3, 6, dtype=torch.int8), torch.zeros(18, 5, dtype=torch.int8), torch.zeros(18, dtype=torch.int8)],
    "widest": [torch.tensor([7, 7, 4]), torch.tensor([-1, 13, 6]), torch.tensor([18]), torch.zeros(3, dtype=torch.int64), None],
}


@pytest.mark.parametrize(("name", "tensor"), [(name, tensor) for name, choices in TENSORS.items() for tensor in choices])
def test_tensors_that_do_not_fit_are_refused(folder, name, tensor):
    tensors = read_tensors(folder / "table.safetensors")
    changed = {**tensors, name: tensor} if tensor is not None else {key: value for key, value in tensors.items() if key != name}
    publish_tensors(folder / "table.safetensors", changed)
    load_refuses(resealed(folder))


def test_weights_that_do_not_fit_are_refused(folder):
    weights = read_tensors(folder / "model.safetensors")
    first = next(iter(weights))
    for changed in ({first: weights[first]}, weights | {"more": torch.zeros(1)}, weights | {first: torch.zeros(1)}, {}):
        publish_tensors(folder / "model.safetensors", changed)
        load_refuses(resealed(folder))


VOCABULARIES = {
    "a row short": lambda frame: frame[1:],
    "a row twice": lambda frame: pl.concat([frame, frame[:1]]),
    "a row beyond": lambda frame: frame.with_columns(pl.col("row") + 1),
    "a row negative": lambda frame: frame.with_columns(pl.when(pl.col("row") == 0).then(-1).otherwise("row").alias("row")),
    "no unknown row": lambda frame: frame.with_columns(pl.col("value").fill_null("x")),
    "another field": lambda frame: frame.with_columns(pl.lit("user").alias("field")),
    "no numbers": lambda frame: frame.with_columns(pl.col("value").fill_null("x").cast(pl.Categorical)),
    "rows as text": lambda frame: frame.cast({"row": pl.String}),
    "no column value": lambda frame: frame.drop("value"),
    "words for integers": lambda frame: frame.with_columns(
        pl.when((pl.col("field") == "user") & pl.col("value").is_not_null()).then(pl.lit("word")).otherwise("value").alias("value")
    ),
}


@pytest.mark.parametrize("change", VOCABULARIES.values(), ids=VOCABULARIES)
def test_a_vocabulary_that_does_not_fit_is_refused(folder, change):
    change(pl.read_parquet(folder / "vocabulary.parquet")).write_parquet(folder / "vocabulary.parquet")
    load_refuses(resealed(folder))


@pytest.mark.parametrize("name", ["table.safetensors", "model.safetensors", "vocabulary.parquet"])
@pytest.mark.parametrize("content", [b"", b"{}", b"PAR1", b"\xff" * 64, (2**62).to_bytes(8, "little") + b"{}"], ids=repr)
def test_garbage_under_a_matching_manifest_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    load_refuses(resealed(folder))


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manifest=anything)
def test_any_json_for_a_manifest_is_refused(folder, manifest):
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert refused(folder)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_the_manifest_loads_or_is_refused(sound, folder, data):
    manifest = read_json(sound / "manifest.json")
    section = data.draw(st.sampled_from(["events", "scaling", "model", "table", "files"]))
    key = data.draw(st.sampled_from(sorted(manifest[section])))
    manifest[section][key] = data.draw(anything)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with contextlib.suppress(ArtifactError):
        assert amtl.load(folder).predict({"user": [1]}).shape == (1,)


@pytest.fixture(scope="module")
def sound_state(tmp_path_factory):
    problem, path = toy(), tmp_path_factory.mktemp("state") / "state"
    model = problem.model()
    optimizers = Optimizers(model, 0.01)
    fit = FitSettings(epochs=1, patience=1, batch_size=300, learning_rate=0.01, seed=0)
    Trainer(model, fit, torch.device("cpu"), problem.unknown_rows_F, optimizers=optimizers, log=silent).fit(
        problem.train, problem.validation
    )
    write_state(path, model, optimizers, problem.vocabulary, problem.settings.events)
    return path


@pytest.fixture
def state(sound_state, tmp_path):
    return shutil.copytree(sound_state, tmp_path / "state")


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "vocabulary.parquet", "manifest.json"])
def test_a_damaged_state_is_refused(state, name):
    content = (state / name).read_bytes()
    for damaged in (b"", content[: len(content) // 2], content[:-2] + b"\x00\x00"):
        (state / name).write_bytes(damaged)
        with pytest.raises(ArtifactError):
            read_state(state)
    (state / name).unlink()
    with pytest.raises(ArtifactError):
        read_state(state)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "vocabulary.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 64], ids=repr)
def test_garbage_in_a_state_under_a_matching_manifest_is_refused(state, name, content):
    (state / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="state"):
        read_state(resealed(state))


@pytest.mark.parametrize(
    "entries", [{"kind": "bundle"}, {"format": 1}, {"model": None}, {"model": {}}, {"model": {"dim": 3}}, {"fields": 3}], ids=str
)
def test_a_state_of_another_kind_is_refused(state, entries):
    with pytest.raises(ArtifactError, match="state"):
        read_state(resealed(state, **entries))


def test_a_state_whose_parts_do_not_fit_is_refused(state):
    weights, vocabulary = read_tensors(state / "weights.safetensors"), pl.read_parquet(state / "vocabulary.parquet")
    for changed in ({name: tensor for name, tensor in weights.items() if "lookup" not in name}, {}):
        publish_tensors(state / "weights.safetensors", changed)
        with pytest.raises(ArtifactError, match="state"):
            read_state(resealed(state))
    publish_tensors(state / "weights.safetensors", weights)
    for frame in (vocabulary[1:], vocabulary.drop("row"), vocabulary.cast({"row": pl.String})):
        frame.write_parquet(state / "vocabulary.parquet")
        with pytest.raises(ArtifactError, match="state"):
            read_state(resealed(state))


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 64, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"], ids=repr)
def test_a_damaged_search_result_is_refused(tmp_path, content):
    for name in ("front.safetensors", "model.safetensors"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match="dvc repro"):
        Front.read(tmp_path / "front.safetensors")
    with pytest.raises(ArtifactError, match="dvc repro"):
        Found.read(tmp_path, toy().config)
