"""The loop: what a step does, which weights it ends with, and that a resumed run ends as an uninterrupted one."""

from dataclasses import asdict, replace

import pytest
import torch
from toy import equal_weights, silent, toy, with_settings

from amtl.errors import DataError, ParamsError
from amtl.model.ctr_model import weights_of
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.release.evaluate import score
from amtl.training import checkpoint, loop
from amtl.training.loop import FitSettings, Trainer, pick_device, predict

CPU = torch.device("cpu")
FIT = FitSettings(epochs=3, patience=3, batch_size=64, learning_rate=0.01, seed=4, unknown_rate=0.1, l2=1e-3)
STEPS = 3 * 10


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def problem():
    """Dropout and batch norm on: both carry state that a resumed run must find again."""
    return with_settings(toy(), train={"dropout": 0.2, "batch_norm": True})


def fitted(problem, fit=FIT, model=None, **arguments):
    """A trainer after its fit."""
    trainer = Trainer(model or problem.model(), fit, CPU, problem.unknown_rows_F, log=silent, **arguments)
    trainer.fit(problem.train, problem.validation)
    return trainer


def killed_after(problem, fit, resume, steps, log_lines=None):
    """Fit until `steps` steps are done, or until a line of the log is written."""
    lines = []

    def log(text):
        lines.append(text)
        if len(lines) == log_lines:
            raise Killed

    trainer = Trainer(problem.model(seed=9 if checkpoint.latest(resume) else 0), fit, CPU, problem.unknown_rows_F, resume=resume, log=log)
    real, done = trainer.step, []

    def step(batch):
        if len(done) == steps:
            raise Killed
        done.append(1)
        return real(batch)

    trainer.step = step
    trainer.fit(problem.train, problem.validation)


def same_end(one, other):
    assert equal_weights(weights_of(one.model), weights_of(other.model))
    assert equal_weights(one.optimizers.tensors(), other.optimizers.tensors())
    assert equal_weights(one.best, other.best)
    assert asdict(one.progress) == asdict(other.progress)
    return True


@pytest.fixture(scope="module")
def uninterrupted(problem):
    return fitted(problem)


@pytest.mark.parametrize("steps", [2, 3, 5, 9, 10, 13, 20, 29])
def test_a_run_that_is_killed_and_resumed_ends_bit_equal(problem, uninterrupted, tmp_path, steps):
    fit = replace(FIT, checkpoint_steps=3)
    with pytest.raises(Killed):
        killed_after(problem, fit, tmp_path / "resume", steps)
    torch.manual_seed(99)
    resumed = fitted(problem, fit, problem.model(seed=9 if steps >= 3 else 0), resume=tmp_path / "resume")
    assert same_end(resumed, uninterrupted)


def test_a_run_that_is_killed_again_and_again_ends_bit_equal(problem, uninterrupted, tmp_path):
    fit, kills = replace(FIT, checkpoint_steps=2), 0
    while True:
        try:
            killed_after(problem, fit, tmp_path / "resume", 3)
        except Killed:
            kills += 1
            continue
        break
    assert kills > STEPS // 3
    assert same_end(fitted(problem, fit, problem.model(seed=9), resume=tmp_path / "resume"), uninterrupted)


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_run_that_is_killed_between_judging_and_saving_ends_bit_equal(problem, uninterrupted, tmp_path, line):
    fit = replace(FIT, checkpoint_steps=5)
    with pytest.raises(Killed):
        killed_after(problem, fit, tmp_path / "resume", None, log_lines=line)
    assert same_end(fitted(problem, fit, problem.model(seed=9), resume=tmp_path / "resume"), uninterrupted)


def test_a_finished_run_is_not_run_again(problem, uninterrupted, tmp_path):
    fitted(problem, resume=tmp_path / "resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", lambda self, batch: pytest.fail("a step"))
        assert same_end(fitted(problem, model=problem.model(seed=9), resume=tmp_path / "resume"), uninterrupted)


def test_a_damaged_newest_checkpoint_costs_only_its_steps(problem, uninterrupted, tmp_path):
    fit = replace(FIT, checkpoint_steps=3)
    with pytest.raises(Killed):
        killed_after(problem, fit, tmp_path / "resume", 17)
    newest = sorted((tmp_path / "resume").iterdir())[-1] / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert same_end(fitted(problem, fit, problem.model(seed=9), resume=tmp_path / "resume"), uninterrupted)


def test_a_resumed_fine_tuning_does_not_judge_its_start_again(problem, tmp_path):
    fit = replace(FIT, keep_start=True, checkpoint_steps=3)
    whole = fitted(problem, fit)
    with pytest.raises(Killed):
        killed_after(problem, fit, tmp_path / "resume", 13)
    resumed = fitted(problem, fit, problem.model(seed=9), resume=tmp_path / "resume")
    assert [entry["epoch"] for entry in resumed.progress.history] == [0, 1, 2, 3]
    assert same_end(resumed, whole)


def test_a_training_that_diverges_is_refused_alike_with_checkpoints(problem, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "step", lambda self, batch: float("nan"))
    with pytest.raises(DataError, match=r"training diverged, lower train\.learning_rate"):
        fitted(problem, replace(FIT, checkpoint_steps=3), resume=tmp_path)


def test_checkpoints_do_not_change_a_run(problem, uninterrupted, tmp_path):
    assert same_end(fitted(problem, replace(FIT, checkpoint_steps=1), resume=tmp_path / "resume"), uninterrupted)
    assert len(list((tmp_path / "resume").iterdir())) == checkpoint.KEPT


def test_the_same_seed_gives_the_same_weights_and_another_does_not(problem, uninterrupted):
    torch.manual_seed(99)
    assert same_end(fitted(problem, model=problem.model()), uninterrupted)
    other = fitted(problem, replace(FIT, seed=5))
    assert not equal_weights(weights_of(other.model), weights_of(uninterrupted.model))


def test_the_order_of_batches_depends_on_seed_and_epoch_alone(problem):
    def order(seed, epoch, skip=0):
        return [batch.ids_BF.tolist() for batch in problem.train.shuffled(64, seed, epoch, skip)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0)[4:] == order(1, 0, skip=4)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert sorted(row for batch in order(1, 0) for row in batch) == sorted(problem.train.ids_BF.tolist())


GOLDEN = {
    "mlp": [0.6908729, 0.6891303, 0.6677758, 0.6612100, 0.6143091, 0.6121685],
    "dlrm": [0.6866481, 0.6700122, 0.6446012, 0.6150228, 0.5772797, 0.5570871],
    "deepfm": [0.7051747, 0.6833265, 0.6634695, 0.6568957, 0.6148281, 0.6084498],
    "dcnv2": [0.6960733, 0.6695421, 0.6453840, 0.6246252, 0.5891032, 0.5613061],
}
"""Training and validation loss, nats an event, epoch by epoch."""


@pytest.mark.parametrize("backbone", GOLDEN)
def test_losses_are_the_recorded_ones(backbone):
    history = fitted(toy(backbone), FIT, toy(backbone).model(std=0.1)).progress.history
    found = [entry[key] for entry in history for key in ("loss", "logloss")]
    assert found == pytest.approx(GOLDEN[backbone], rel=1e-4)


@pytest.mark.parametrize("patience", [1, 2])
def test_training_stops_when_patience_ends(patience):
    still = replace(FIT, learning_rate=1e-30, epochs=9, patience=patience)
    assert len(fitted(toy(), still).progress.history) == 1 + patience


def final_score(problem, model):
    found = score(problem.validation.labels_B.numpy(), predict(model, problem.validation, CPU))
    return found["auc"] - 0.5 * found["logloss"]


def test_the_model_ends_with_the_best_weights_on_validation():
    problem = toy()
    trainer = fitted(problem, replace(FIT, learning_rate=0.3, epochs=6, patience=6))
    scores = [entry["score"] for entry in trainer.progress.history]
    assert scores.index(max(scores)) < 5
    assert final_score(problem, trainer.model) == max(scores) == trainer.progress.best_score


RUINOUS = replace(FIT, learning_rate=5.0, epochs=2)


def test_training_that_ruins_a_model_ends_where_it_began_if_the_start_competes():
    problem, start = toy(), fitted(toy()).model
    before = weights_of(start)
    before = {name: tensor.clone() for name, tensor in before.items()}
    trainer = fitted(problem, replace(RUINOUS, keep_start=True), start)
    assert trainer.progress.history[0]["epoch"] == 0
    assert equal_weights(weights_of(trainer.model), before)
    assert not equal_weights(weights_of(fitted(problem, RUINOUS, start).model), before)


def test_the_last_weights_count_where_they_are_asked_for():
    problem = toy()
    last = fitted(problem, replace(RUINOUS, keep_last=True, epochs=3))
    scores = [entry["score"] for entry in last.progress.history]
    assert scores[-1] < max(scores)
    assert final_score(problem, last.model) == last.progress.history[-1]["score"]
    assert not equal_weights(weights_of(last.model), last.best)


def test_no_epochs_leave_the_model_as_it_is():
    model = toy().model()
    before = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    fitted(toy(), replace(FIT, epochs=0, keep_start=True), model)
    assert equal_weights(weights_of(model), before)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_a_step_is_cross_entropy_plus_the_mean_squared_norm_of_an_event_s_vectors(l2):
    problem, model = toy(), toy().model()
    trainer = Trainer(model, replace(FIT, l2=l2, unknown_rate=0.0), CPU, problem.unknown_rows_F)
    trainer.optimizers.step = lambda: None
    batch = problem.train.take(torch.arange(50))
    loss = trainer.step(batch)
    reference = toy().model()
    p = torch.sigmoid(reference(batch))
    expected = -(batch.labels_B * p.log() + (1 - batch.labels_B) * (1 - p).log()).mean()
    squares = sum(vector.square().sum() for event in reference.embedder(batch) for vector in event) / 50
    (expected + l2 * squares).backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    for (name, weight), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(weight.grad.to_dense(), other.grad.to_dense(), rtol=1e-3, atol=1e-6, msg=name)


def test_only_the_rows_of_a_batch_move():
    problem, model = toy(), toy().model()
    before = model.embedding.weight.detach().clone()
    trainer = Trainer(model, replace(FIT, unknown_rate=0.0), CPU, problem.unknown_rows_F)
    batch = problem.train.take(torch.arange(3))
    trainer.step(batch)
    touched = {*batch.ids_BF.flatten().tolist(), *batch.bags[0].rows_M.tolist()}
    moved = (model.embedding.weight.detach() != before).any(1).nonzero().flatten().tolist()
    assert set(moved) == touched


def test_what_a_mask_cuts_stays_cut():
    problem, model = toy(), toy().model()
    sizes = torch.arange(problem.vocabulary.rows) % 7
    model.embedder.lookup = MaskedEmbedding(model.embedding, sizes)
    with torch.no_grad():
        model.embedding.weight.mul_(torch.arange(6) < sizes.unsqueeze(1))
    fitted(problem, FIT, model)
    tails = torch.arange(6) >= sizes.unsqueeze(1)
    assert not model.embedding.weight[tails].any()
    assert model.embedding.weight[~tails].all()


def test_the_unknown_row_is_trained_by_hiding_values():
    problem = toy()
    fresh = problem.model().embedding.weight[problem.unknown_rows_F]
    hidden, never = (fitted(problem, replace(FIT, unknown_rate=rate)).model.embedding.weight[0] for rate in (0.3, 0.0))
    assert torch.equal(never, fresh[0])
    assert not torch.equal(hidden, fresh[0])


def test_prediction_is_in_evaluation_mode_and_leaves_the_mode_alone(problem):
    model = problem.model().train()
    first, again = predict(model, problem.validation, CPU), predict(model, problem.validation, CPU, batch_size=17)
    assert first == pytest.approx(again, rel=1e-6)
    assert model.training
    assert first.dtype == "float64"
    p = torch.sigmoid(model.eval()(problem.validation)).tolist()
    assert first == pytest.approx(p, rel=1e-5)
    assert predict(model, problem.validation.take(torch.arange(0)), CPU).shape == (0,)


@pytest.mark.parametrize("rows", [65, 129, 64, 2])
def test_a_last_batch_of_one_event_joins_the_one_before(problem, rows, tmp_path):
    few = replace(problem, train=problem.train.take(torch.arange(rows)))
    sizes = [len(batch) for batch in few.train.shuffled(64, 0, 0)]
    assert sum(sizes) == rows
    assert min(sizes) > 1
    for skip in range(len(sizes) + 1):
        assert [len(batch) for batch in few.train.shuffled(64, 0, 0, skip)] == sizes[skip:]
    fit = replace(FIT, checkpoint_steps=1, epochs=2)
    whole = fitted(few, fit)
    with pytest.raises(Killed):
        killed_after(few, fit, tmp_path / "resume", len(sizes))
    assert same_end(fitted(few, fit, few.model(seed=9), resume=tmp_path / "resume"), whole)


def test_one_event_alone_is_a_batch():
    assert [len(batch) for batch in toy().train.take(torch.arange(1)).shuffled(64, 0, 0)] == [1]


def test_bf16_trains(monkeypatch):
    monkeypatch.setattr(loop, "computes_bf16", lambda device: True)
    history = fitted(toy(), replace(FIT, bf16=True)).progress.history
    assert history[-1]["loss"] < history[0]["loss"]


def test_bf16_is_left_where_the_device_has_no_instructions_for_it(monkeypatch):
    whole = fitted(toy(), FIT).progress.history
    monkeypatch.setattr(loop, "computes_bf16", lambda device: False)
    problem, lines = toy(), list[str]()
    trainer = Trainer(problem.model(), replace(FIT, bf16=True), CPU, problem.unknown_rows_F, log=lines.append)
    assert trainer.fit(problem.train, problem.validation).history == whole
    assert "train.bf16" in lines[0]


def test_a_device_that_is_not_there_is_refused_by_the_key_s_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_device("auto") == pick_device("cpu") == CPU
    for wanted in ("cuda", "cuda:3"):
        with pytest.raises(ParamsError, match=r"train\.device"):
            pick_device(wanted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ParamsError, match=r"cuda:2"):
        pick_device("cuda:2")


def distilled_step(problem, share, teacher):
    """The model after one step on the first batch, and the loss that the step gave."""
    fit = replace(FIT, distillation=share, unknown_rate=0.0, l2=0.0)
    trainer = Trainer(problem.model(), fit, CPU, problem.unknown_rows_F, teacher=teacher, log=silent)
    return trainer, trainer.step(next(iter(problem.train.shuffled(64, 0, 0))))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_teacher_s_cross_entropy_counts_beside_the_labels(share):
    problem, teacher = toy(), toy().model(seed=3)
    batch, student = next(iter(problem.train.shuffled(64, 0, 0))), problem.model()
    logits, taught = student(batch), teacher.eval()(batch).detach()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    loss = (1 - share) * entropy(logits, batch.labels_B) + share * entropy(logits, torch.sigmoid(taught))
    before = {name: tensor.clone() for name, tensor in weights_of(teacher).items()}
    trainer, found = distilled_step(problem, share, teacher)
    assert found == pytest.approx(float(loss.detach()), rel=1e-5)
    loss.backward()
    wanted = student.backbone.layers[0].weight.grad
    moved = trainer.model.backbone.layers[0].weight.detach() - student.backbone.layers[0].weight.detach()
    clear = wanted.abs() > 1e-5
    assert torch.equal(moved[clear].sign(), -wanted[clear].sign())
    assert equal_weights(weights_of(teacher), before)


def test_without_a_teacher_or_a_weight_labels_alone_count():
    problem = toy()
    plain = weights_of(distilled_step(problem, 0.0, None)[0].model)
    assert equal_weights(weights_of(distilled_step(problem, 0.5, None)[0].model), plain)
    assert equal_weights(weights_of(distilled_step(problem, 0.0, problem.model(seed=3))[0].model), plain)
    assert not equal_weights(weights_of(distilled_step(problem, 0.5, problem.model(seed=3))[0].model), plain)


def test_a_teacher_judges_whole_events_without_dropout():
    """Values are hidden from the student alone, and the teacher is not in training mode."""
    problem, seen = with_settings(toy(), train={"dropout": 0.5}), []
    teacher = problem.model(seed=3)
    teacher.register_forward_hook(lambda module, inputs, output: seen.append((module.training, inputs[0].ids_BF)))
    fit = replace(FIT, distillation=0.5, unknown_rate=0.9)
    batch = next(iter(problem.train.shuffled(64, 0, 0)))
    Trainer(problem.model(), fit, CPU, problem.unknown_rows_F, teacher=teacher.train(), log=silent).step(batch)
    assert [(training, torch.equal(ids, batch.ids_BF)) for training, ids in seen] == [(False, True)]


def test_what_a_teacher_says_of_recombined_events_is_learned_without_labels(problem):
    taught = replace(FIT, distillation=0.5, recombined=0.3, keep_last=True)
    flipped = replace(problem, train=replace(problem.train, labels_B=1 - problem.train.labels_B))
    with_labels, without = (fitted(data, taught, teacher=problem.model(seed=3)).model for data in (problem, flipped))
    assert equal_weights(weights_of(with_labels), weights_of(without))
    plain = fitted(flipped, replace(taught, recombined=0.0), teacher=problem.model(seed=3)).model
    assert not equal_weights(weights_of(with_labels), weights_of(plain))


def test_the_learning_rate_falls_to_nothing_over_all_epochs(problem):
    rates = []
    trainer = Trainer(problem.model(), replace(FIT, decay=True, patience=9), CPU, problem.unknown_rows_F, log=silent)
    step = trainer.step
    trainer.step = lambda batch: (
        rates.append({group["lr"] for part in trainer.optimizers.parts for group in part.param_groups}) or step(batch)
    )
    trainer.fit(problem.train, problem.validation)
    assert [rate for used in rates for rate in used] == pytest.approx([FIT.learning_rate * (1 - done / STEPS) for done in range(STEPS)])


def test_a_student_of_recombined_events_answers_without_dropout_and_keeps_its_batch_statistics(problem):
    taught, modes = replace(FIT, distillation=0.5, recombined=0.3, epochs=1), []
    for fit in (taught, replace(taught, recombined=0.0)):
        model = problem.model()
        statistics = [buffer.clone() for name, buffer in model.backbone.named_buffers() if "running" in name]
        trainer = Trainer(model, fit, CPU, problem.unknown_rows_F, teacher=problem.model(seed=3), log=silent)
        trainer.fit(problem.train, problem.validation)
        after = [buffer for name, buffer in model.backbone.named_buffers() if "running" in name]
        modes.append(equal_weights(dict(enumerate(statistics)), dict(enumerate(after))))
    assert modes == [True, False]
