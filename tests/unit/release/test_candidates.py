"""What evaluation compares, read from what compress wrote, and scored on the same rows."""

import shutil

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from toy import silent, toy, with_settings

from amtl import files
from amtl.errors import ArtifactError
from amtl.model.ctr_model import weights_of
from amtl.packing.compress import Compressed, contents
from amtl.packing.cut import cut
from amtl.packing.layout import Layout
from amtl.release.candidates import Candidates, bundle_metrics, score_candidates, table_metrics
from amtl.sizing.reflectors import storable
from amtl.training.loop import FitSettings, Trainer

CPU = torch.device("cpu")


def compressed(problem, folder, seed=0):
    """A model with a signal, cut at random, beside the uncut one."""
    models = [problem.model(seed=seed) for _ in range(2)]
    for model in models:
        if problem.config.backbone == "dlrm":
            model.embedder.register_buffer("basis_FDD", storable(torch.eye(6).repeat(3, 1, 1)).float())
        fit = FitSettings(epochs=2, patience=2, batch_size=64, learning_rate=0.02, seed=seed)
        Trainer(model, fit, CPU, problem.unknown_rows_F, log=silent).fit(problem.train, problem.validation)
    sizes = torch.randint(0, 7, (problem.vocabulary.rows,), generator=torch.Generator().manual_seed(1))
    cut(models[0], sizes)
    layout = Layout.of_sizes(sizes, torch.from_numpy(problem.vocabulary.fields_V), 6, "fp32")
    report = {"selector": "rule", "mean_bits": 32.0, "sizes": {"mean_size": 3.0, "distinct_sizes": 7}}
    result = Compressed(models[0], layout, report)
    result.write(folder, contents(problem.settings, result, problem.vocabulary, problem.scaling, {}))
    return result, models[1].eval()


@pytest.fixture(scope="module", params=["mlp", "dlrm"])
def written(request, tmp_path_factory):
    problem, folder = toy(request.param), tmp_path_factory.mktemp("compress")
    return problem, folder, *compressed(problem, folder)


def halves(raw):
    """Raw rows as evaluation gets them: in chunks."""
    return iter([raw[:90], raw[90:]])


def probabilities(model, problem):
    with torch.no_grad():
        return torch.sigmoid(model.eval()(problem.validation).double()).numpy()


def test_candidates_are_what_compress_wrote(written):
    problem, folder, result, control = written
    candidates = Candidates.read(folder, control, None)
    assert torch.equal(candidates.sizes_V, result.layout.sizes_V)
    assert np.array_equal(probabilities(candidates.masked, problem), probabilities(result.model, problem))
    assert candidates.control is control
    assert candidates.parent is None


def test_all_are_scored_on_the_same_rows(written, tmp_path):
    problem, folder, result, control = written
    other, _ = compressed(problem, tmp_path, seed=3)
    candidates = Candidates.read(folder, control, tmp_path / "bundle")
    metrics, predictions = score_candidates(candidates, halves(problem.raw), problem.validation, batch_size=64)
    labels = problem.validation.labels_B.numpy()
    for key, model in (("auc", result.model), ("auc_masked", result.model), ("auc_fixed", control), ("auc_parent", other.model)):
        assert metrics[key] == pytest.approx(roc_auc_score(labels, probabilities(model, problem)), abs=1e-9)
    assert len({metrics["auc"], metrics["auc_fixed"], metrics["auc_parent"]}) == 3
    assert metrics["rows"] == len(problem.raw)
    assert metrics["logloss_fixed"] != metrics["logloss"]
    assert predictions.keys() == {"auc", "auc_fixed"}
    assert predictions["auc"] == pytest.approx(probabilities(result.model, problem), rel=1e-6)
    assert predictions["auc_fixed"] == pytest.approx(probabilities(control, problem), rel=1e-6)


def test_what_does_not_apply_is_absent(written):
    problem, folder, _, control = written
    candidates = Candidates.read(folder, control, None)
    assert "auc_parent" not in score_candidates(candidates, halves(problem.raw), problem.validation, 64)[0]
    ones = problem.validation.labels_B.nonzero().flatten()
    metrics, _ = score_candidates(candidates, [problem.raw[ones.numpy()]], problem.validation.take(ones), 64)
    assert not [key for key in metrics if key.startswith("auc")]
    assert all(np.isfinite(value) for value in metrics.values())


def test_table_metrics_are_the_file_s_bytes_beside_the_dense_table_s(written):
    problem, folder, result, control = written
    candidates = Candidates.read(folder, control, None)
    metrics = table_metrics(folder / "bundle", candidates.packed)
    packed, dense = (folder / "bundle" / "table.safetensors").stat().st_size, problem.vocabulary.rows * 6 * 4
    assert metrics == {
        "table_bytes": packed,
        "dense_bytes": dense,
        "saved": pytest.approx(1 - packed / dense),
        "mean_size": pytest.approx(float(result.layout.sizes_V.double().mean())),
        "distinct_sizes": len(result.layout.sizes_V.unique()),
    }


def test_any_bundle_is_scored_as_evaluation_scores_it(written):
    problem, folder, _, control = written
    candidates = Candidates.read(folder, control, None)
    metrics, _ = score_candidates(candidates, halves(problem.raw), problem.validation, 8192)
    alone = bundle_metrics(folder / "bundle", halves(problem.raw), "click")
    assert alone == {key: metrics[key] for key in ("auc", "logloss", "calibration", "rows")} | table_metrics(
        folder / "bundle", candidates.packed
    )


@pytest.mark.parametrize("name", ["masked.safetensors", "bundle/table.safetensors"])
def test_damaged_results_of_compress_are_refused(written, tmp_path, name):
    _, folder, _, control = written
    for content in (None, b"", b"\xff" * 64):
        copy = shutil.copytree(folder, tmp_path / repr(content)[:5])
        (copy / name).unlink()
        if content is not None:
            (copy / name).write_bytes(content)
        with pytest.raises(ArtifactError):
            Candidates.read(copy, control, None)


def test_results_of_other_settings_are_refused(written, tmp_path):
    problem, folder, result, control = written
    with pytest.raises(ArtifactError, match="dvc repro compress"):
        Candidates.read(folder, with_settings(problem, train={"hidden": [5]}).model(), None)
    weights = {name: tensor for name, tensor in weights_of(result.model).items() if "sizes" not in name}
    copy = shutil.copytree(folder, tmp_path / "copy")
    files.publish_tensors(copy / "masked.safetensors", weights)
    with pytest.raises(ArtifactError, match="dvc repro compress"):
        Candidates.read(copy, control, None)
