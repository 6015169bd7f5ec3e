"""The same numbers on CUDA as on the CPU, and the same stages: training, warm start, search, compressing."""

from dataclasses import replace

import pytest
import torch
from toy import equal_weights, silent, toy, with_settings

from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.model.twins import AdaptivelyMaskedTwins, OrderedTwins
from amtl.packing.compress import compress
from amtl.packing.layout import Layout
from amtl.packing.packed_embedding import PackedEmbedding, pack
from amtl.sizing.costs import sample_effects
from amtl.sizing.levels import size_levels
from amtl.sizing.sizes import Found, find_sizes
from amtl.training.control import Control, control_of
from amtl.training.loop import FitSettings, Trainer, pick_device, predict
from amtl.training.state import read_state
from amtl.training.train import train
from amtl.training.tuning import tuning_for

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FIT = FitSettings(epochs=2, patience=2, batch_size=64, learning_rate=0.01, seed=4, l2=1e-3)


@pytest.fixture(autouse=True)
def _exact_products():
    """Without TensorFloat-32, whose products differ in the fourth digit."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def on_gpu(sections):
    """The toy's sections of settings, on CUDA."""
    return {**sections, "train": {**sections.get("train", {}), "device": "cuda"}}


@pytest.mark.parametrize("kind", [AdaptivelyMaskedTwins, OrderedTwins])
def test_the_layer_masks_alike_and_learns_alike(kind):
    torch.manual_seed(0)
    counts, ids = (1e4 / torch.arange(1, 200)).long(), torch.randint(0, 199, (500,))
    layer, vectors, wanted = kind(counts, 16, full_bias=0.0), torch.randn(500, 16), torch.randn(500, 16)
    outputs, gradients = [], []
    for device in (CPU, GPU):
        layer.to(device).zero_grad()
        masked = layer(vectors.to(device), ids.to(device))
        (masked * wanted.to(device)).sum().backward()
        outputs.append((masked.detach().cpu(), layer.sizes().cpu(), layer.masks_GD().detach().cpu()))
        gradients.append([weight.grad.cpu().clone() for weight in layer.parameters()])
    for one, other in zip(*outputs, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "mixed"])
def test_the_packed_lookup_is_bit_equal(precision):
    torch.manual_seed(0)
    table, sizes, rows = torch.randn(300, 16), torch.randint(0, 17, (300,)), torch.randint(0, 300, (1000,))
    layout = Layout.of_sizes(sizes, torch.arange(300) // 150, 16, "int8" if precision == "mixed" else precision)
    if precision == "mixed":
        widths_KD = torch.randint(2, 9, layout.bits_KD.shape, dtype=torch.uint8)
        layout = replace(layout, bits_KD=torch.where(layout.bits_KD > 0, widths_KD, 0))
    lookup = PackedEmbedding(pack(table, layout), 16)
    assert torch.equal(lookup(rows), lookup.to(GPU)(rows.to(GPU)).cpu())
    if precision == "fp32":
        masked = MaskedEmbedding(torch.nn.Embedding.from_pretrained(table), sizes).to(GPU)
        assert torch.equal(lookup(rows.to(GPU)), masked(layout.order()[0][rows].to(GPU)))


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_a_few_steps_lead_to_the_same_weights(backbone):
    problem, ends = toy(backbone), []
    for device in (CPU, GPU):
        model = problem.model(std=0.1)
        trainer = Trainer(model, FIT, device, problem.unknown_rows_F, log=silent)
        for batch in list(problem.train.shuffled(64, 0, 0))[:5]:
            trainer.step(batch.to(device))
        ends.append((weights_of(model), predict(model, problem.validation, device)))
    for name, tensor in ends[0][0].items():
        torch.testing.assert_close(ends[1][0][name], tensor, rtol=1e-2, atol=1e-4, msg=name)
    assert ends[1][1] == pytest.approx(ends[0][1], abs=1e-4)


def test_losses_are_the_cpu_s():
    problem = toy()
    histories = []
    for device in (CPU, GPU):
        trainer = Trainer(problem.model(std=0.1), FIT, device, problem.unknown_rows_F, log=silent)
        histories.append([entry["loss"] for entry in trainer.fit(problem.train, problem.validation).history])
    assert histories[1] == pytest.approx(histories[0], rel=1e-3)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    """Hidden values are drawn on the device, whose random state is resumed with it. Sums of gradients have no fixed order there."""
    problem, fit = with_settings(toy(), train={"dropout": 0.2}), replace(FIT, unknown_rate=0.1, checkpoint_steps=3)

    class Killed(Exception):
        pass

    def run(resume, kill_after=None):
        trainer = Trainer(problem.model(std=0.1), fit, GPU, problem.unknown_rows_F, resume=resume, log=silent)
        real, done = trainer.step, []

        def step(batch):
            if len(done) == kill_after:
                raise Killed
            done.append(1)
            return real(batch)

        trainer.step = step
        return trainer.fit(problem.train, problem.validation).history

    with pytest.raises(Killed):
        run(tmp_path / "resume", kill_after=7)
    resumed, whole = run(tmp_path / "resume"), run(None)
    assert [entry["loss"] for entry in resumed] == pytest.approx([entry["loss"] for entry in whole], rel=1e-3)


def test_bf16_trains():
    history = (
        Trainer(toy().model(std=0.1), replace(FIT, bf16=True), GPU, toy().unknown_rows_F, log=silent)
        .fit(toy().train, toy().validation)
        .history
    )
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
def test_costs_of_cutting_are_the_cpu_s(backbone):
    problem, model = toy(backbone), toy(backbone).model()
    field_V = torch.from_numpy(problem.vocabulary.fields_V)
    one, other = (sample_effects(model, problem.train, field_V, size_levels(6), device, 10**9, seed=0) for device in (CPU, GPU))
    torch.testing.assert_close(one.effect_VL1, other.effect_VL1, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(one.curvature_FDD, other.curvature_FDD, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("backbone", ["mlp", "dlrm"])
@pytest.mark.parametrize("sizes", ["auto", "twins-cold", "paper"])
def test_all_stages_run_from_a_warm_start_to_a_cut_model(backbone, sizes, tmp_path):
    problem = with_settings(toy(backbone), **on_gpu({"search": {"sizes": sizes, "steps": 20}}))
    parts = problem.settings, problem.vocabulary, problem.train, problem.validation
    train(*parts, None, None, silent).write(tmp_path / "parent")
    trained = train(*parts, tmp_path / "parent", tmp_path / "resume", silent)
    trained.write(tmp_path / "state")
    assert trained.report["device"] == "cuda"
    assert trained.report["warm_start"]["backbone"] == "carried"
    tuning = tuning_for(*parts, silent)
    control_of(trained.model, tuning, tmp_path / "cache").write(tmp_path / "search")
    control = Control.read(tmp_path / "search", problem.config).model
    find_sizes(*parts[:2], control, *parts[2:], None, silent).write(tmp_path / "search")
    control, found = Control.read(tmp_path / "search", problem.config), Found.read(tmp_path / "search", problem.config)
    result = compress(problem.settings, found, control.measured, problem.vocabulary, tuning)
    assert {tensor.device.type for tensor in weights_of(result.model).values()} == {"cpu"}
    assert {weight.device.type for model in (result.model, control.model) for weight in model.parameters()} == {"cpu"}
    assert not result.model.embedding.weight[torch.arange(6) >= result.layout.sizes_V.unsqueeze(1)].any()


def test_a_state_from_cuda_is_read_on_the_cpu(tmp_path):
    problem = with_settings(toy(), **on_gpu({}))
    trained = train(problem.settings, problem.vocabulary, problem.train, problem.validation, None, None, silent)
    trained.write(tmp_path / "state")
    state = read_state(tmp_path / "state")
    assert equal_weights(state.weights, weights_of(trained.model))
    assert equal_weights(state.moments, trained.optimizers.tensors())


def test_the_device_is_found():
    assert pick_device("auto") == pick_device("cuda")
