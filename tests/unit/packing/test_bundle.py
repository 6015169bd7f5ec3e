"""A bundle predicts what the masked model predicts, from raw values as a server gets them."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from toy import Toy, toy, with_settings

import amtl
from amtl.errors import DataError
from amtl.files import read_json, read_tensors, write_manifest
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing import bundle
from amtl.sizing.reflectors import storable
from amtl.training.loop import predict

CPU = torch.device("cpu")


def sizes_of(problem: Toy):
    """Sizes from 0 to D, in no order of the rows."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, problem.settings.train.dim + 1, (problem.vocabulary.rows,), generator=generator)


def masked_model(problem: Toy, rotated=False):
    model = problem.model()
    if rotated:
        basis_FDD = torch.linalg.qr(torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(2)))[0]
        model.embedder.register_buffer("basis_FDD", storable(basis_FDD).float())
    model.embedder.lookup = MaskedEmbedding(model.embedding, sizes_of(problem))
    return model


def written(problem, path, precision="fp32", rotated=False):
    model = masked_model(problem, rotated)
    bundle.write(path, problem.contents(model, sizes_of(problem), precision))
    return model


@pytest.fixture(scope="module")
def problem():
    return toy()


@pytest.fixture(scope="module")
def folder(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    written(problem, path)
    return path


@pytest.fixture(scope="module")
def predictor(folder):
    return amtl.load(folder)


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_loaded_bundle_predicts_what_the_masked_model_does(tmp_path, backbone, rotated):
    problem = toy(backbone)
    model = written(problem, tmp_path / "bundle", rotated=rotated)
    loaded = amtl.load(str(tmp_path / "bundle"))
    assert np.array_equal(loaded.predict(problem.raw), predict(model, problem.validation, CPU))


def test_the_packed_lookup_is_the_masked_one_for_every_value(problem, predictor):
    masked, (_, packed_V) = masked_model(problem).embedder.lookup, problem.layout(sizes_of(problem)).order()
    assert torch.equal(predictor.model.embedder.lookup(packed_V), masked(torch.arange(problem.vocabulary.rows)))


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-3), ("int8", 3e-2)])
def test_lower_precision_moves_predictions_a_little(tmp_path, problem, precision, tolerance):
    model = written(problem, tmp_path / "bundle", precision)
    found, exact = amtl.load(tmp_path / "bundle").predict(problem.raw), predict(model, problem.validation, CPU)
    assert 0 < np.abs(found - exact).max() < tolerance


def test_predictions_do_not_depend_on_how_they_are_batched(problem, predictor):
    whole = predictor.predict(problem.raw)
    assert whole.dtype == np.float64
    assert whole.shape == (len(problem.raw),)
    np.testing.assert_allclose(predictor.predict(problem.raw, batch_size=7), whole, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([predictor.predict(problem.raw[i]) for i in range(5)]), whole[:5], rtol=1e-6)


def test_polars_pandas_and_columns_give_the_same(problem, predictor):
    expected = predictor.predict(problem.raw)
    pandas = problem.raw.to_pandas()
    columns = problem.raw.to_dict(as_series=False)
    series = {name: np.array(column) if name in {"user", "age"} else pd.Series(column) for name, column in columns.items()}
    for frame in (pandas, pandas.set_index(np.arange(len(pandas)) + 7), columns, series):
        assert np.array_equal(predictor.predict(frame), expected)


@pytest.mark.parametrize("user", [pd.Series([3.0, None, 5.0]), pd.Series([3, None, 5], dtype="Int64"), pd.Series(["3", None, "5"])])
def test_what_pandas_makes_of_integers_beside_missing_ones_is_read(predictor, user):
    frame = pd.DataFrame({"user": user, "item": pd.Series(["item 1"] * 3, dtype="category")})
    expected = predictor.predict({"user": [3, None, 5], "item": ["item 1"] * 3})
    assert len(set(expected)) == 3
    assert np.array_equal(predictor.predict(frame), expected)


def test_unknown_values_share_the_unknown_row_with_nulls(predictor):
    users = [None, 10**12, -4]
    items = [None, "never seen", "ïtem 🦆"]
    tags = [None, [], ["never seen"]]
    for column, values in (("user", users), ("item", items), ("tags", tags)):
        found = predictor.predict({"user": [1] * 3, "item": ["item 1"] * 3, "tags": [["tag 1"]] * 3} | {column: values})
        known = predictor.predict({"user": [1], "item": ["item 1"], "tags": [["tag 1"]]})
        assert found == pytest.approx(found[0], rel=1e-6)
        assert found[0] != pytest.approx(known[0], rel=1e-4)


def test_an_unknown_value_in_a_list_counts_as_one_value(problem, predictor):
    model = masked_model(problem)
    table = model.embedder.lookup(torch.arange(problem.vocabulary.rows))
    first = problem.vocabulary.offsets["tags"]
    rows = problem.vocabulary.lookup.rows("tags", pl.Series(["tag 1", "tag 2"]))
    batch = predictor.encode(pl.DataFrame({"user": [1], "tags": [["tag 1", "new", "tag 2", None]]}))
    expected = (table[rows[0]] + table[rows[1]] + 2 * table[first]) / 4
    torch.testing.assert_close(predictor.model.embedder.pooled(batch)[0, 2], expected)


def test_missing_numbers_take_the_training_mean(predictor):
    given = {"user": [1] * 4, "age": [None, 40.0, float("nan"), 55.0]}
    found = predictor.predict(given)
    assert found[:3] == pytest.approx(found[0], rel=1e-6)
    assert found[3] != pytest.approx(found[0], rel=1e-4)


def test_optional_columns_may_be_missing_and_others_are_ignored(problem, predictor):
    users = problem.raw["user"]
    nothing = {"item": [None] * len(users), "tags": [None] * len(users), "age": [None] * len(users)}
    expected = predictor.predict({"user": users, **nothing})
    assert np.array_equal(predictor.predict({"user": users}), expected)
    assert np.array_equal(predictor.predict({"user": users, "more": ["x"] * len(users), "click": ["yes"] * len(users)}), expected)
    assert np.array_equal(predictor.predict(pl.DataFrame({"click": [None] * len(users), "user": users})), expected)


@pytest.mark.parametrize("frame", [{"user": []}, {"user": [], "tags": []}, pl.DataFrame({"user": []}), pd.DataFrame({"user": []})])
def test_no_rows_give_no_predictions(predictor, frame):
    assert predictor.predict(frame).shape == (0,)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"item": ["item 1"]}, "lacks the columns user"),
        ([{"user": 1}], "list"),
        (3, "int"),
        (None, "NoneType"),
        ({"user": [1, 2], "item": ["a"]}, "columns"),
        (pl.DataFrame({"user": [1], "tags": ["no list"]}), "column"),
        (pl.DataFrame({"user": [1], "tags": [3]}), "column"),
        (pl.DataFrame({"user": [[1]]}), "column"),
        (pd.DataFrame({"user": [1, "b", [2]]}), "column"),
    ],
)
def test_a_frame_that_cannot_be_read_is_refused_in_words(predictor, frame, message):
    with pytest.raises(DataError, match=message):
        predictor.predict(frame)


def test_the_folder_holds_what_the_contract_names(folder, problem):
    manifest = read_json(folder / "manifest.json")
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *manifest["files"]} == {"manifest.json", *bundle.FILES}
    assert manifest["format"] == 2
    assert manifest["kind"] == "bundle"
    assert manifest["table"] == {"rows": problem.vocabulary.rows, "dim": 6, "precision": "fp32", "stored_basis": False}
    assert manifest["lineage"] == {"budget": "60%"}
    assert manifest["events"]["label"] == "click"


def test_sizes_and_vocabulary_speak_of_the_same_packed_rows(folder, problem):
    sizes, vocabulary = pl.read_parquet(folder / "sizes.parquet"), pl.read_parquet(folder / "vocabulary.parquet")
    assert sizes.columns == ["field", "row", "count", "size", "bits"]
    assert vocabulary.columns == ["field", "value", "row"]
    both = vocabulary.join(sizes, on=["field", "row"])
    expected = problem.vocabulary.table_rows().with_columns(pl.Series("size", sizes_of(problem).numpy()))
    joined = both.join(expected, on=["field", "value"], suffix="_expected", nulls_equal=True)
    assert len(joined) == problem.vocabulary.rows
    assert (joined["size"] == joined["size_expected"]).all()
    assert (joined["count"] == joined["count_expected"]).all()
    assert (joined["bits"] == 32 * joined["size"]).all()
    assert sizes.sort("row").group_by("field", maintain_order=True).agg(pl.col("size").is_sorted())["size"].all()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("rotated", [False, True])
def test_the_layout_knows_the_file_s_bytes(tmp_path, precision, rotated):
    problem = toy("dlrm")
    written(problem, tmp_path / "bundle", precision, rotated)
    assert (tmp_path / "bundle" / "table.safetensors").stat().st_size == problem.layout(sizes_of(problem), precision).bytes(rotated)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("rotated", [False, True])
def test_the_fields_bytes_are_the_file_s_but_for_header_and_counts(tmp_path, precision, rotated):
    problem = toy("dlrm")
    written(problem, tmp_path / "bundle", precision, rotated)
    fields, tensors = bundle.field_bytes(tmp_path / "bundle"), read_tensors(tmp_path / "bundle" / "table.safetensors")
    assert list(fields) == list(problem.vocabulary.sizes)
    assert sum(fields.values()) == sum(tensors[name].nbytes for name in ("codes", "scales", "basis") if name in tensors)


def test_identity_is_of_the_content_and_of_nothing_else(tmp_path, problem):
    model, sizes = masked_model(problem), sizes_of(problem)
    contents = problem.contents(model, sizes)

    def identity(name, changed):
        bundle.write(tmp_path / name, changed)
        return bundle.identity(tmp_path / name)

    first = identity("first", contents)
    assert identity("again", contents) == first
    assert identity("lineage", replace(contents, lineage={"budget": "1%", "at": "noon"})) == first
    more = torch.where(torch.arange(len(sizes)) == 3, (sizes + 1) % 7, sizes)
    other = toy().model(seed=1)
    retimed = with_settings(problem, events={"label": "bought"})
    different = [
        replace(contents, layout=problem.layout(more)),
        replace(contents, layout=problem.layout(sizes, "fp16")),
        replace(contents, card="# Another\n"),
        replace(contents, events=retimed.settings.events),
        replace(contents, scaling=type(contents.scaling)({"age": 41.0}, {"age": 10.0})),
        replace(contents, model=other),
    ]
    digests = {identity(f"different-{index}", changed) for index, changed in enumerate(different)}
    assert len(digests | {first}) == len(different) + 1


def test_identity_does_not_see_when_or_where_it_was_written(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    assert bundle.identity(tmp_path / "elsewhere") == bundle.identity(folder)
    manifest = read_json(folder / "manifest.json")
    entries = {key: value for key, value in manifest.items() if key != "files"} | {"lineage": {"other": 1}, "note": "later"}
    write_manifest(tmp_path / "elsewhere", **entries)
    assert bundle.identity(tmp_path / "elsewhere") == bundle.identity(folder)


def test_writing_again_replaces_the_folder_whole(tmp_path, problem):
    written(problem, tmp_path / "bundle", "fp16")
    (tmp_path / "bundle" / "left over").write_text("")
    written(problem, tmp_path / "bundle")
    assert amtl.load(tmp_path / "bundle").manifest["table"]["precision"] == "fp32"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_loading_needs_torch_and_polars_and_neither_mlflow_nor_prefect(folder):
    code = (
        f"import sys, amtl; amtl.load({str(folder)!r}).predict({{'user': [1]}})\n"
        "print([name for name in ('mlflow', 'prefect', 'dvc', 'great_expectations', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
