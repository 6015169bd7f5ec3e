"""Encoded events on disk, against the same events in memory."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import equal_weights, silent, toy

from amtl.data.batches import Bag, Batch
from amtl.data.encoded import EncodedRows, write_encoded
from amtl.errors import ArtifactError
from amtl.files import read_json
from amtl.model.ctr_model import weights_of
from amtl.training.loop import FitSettings, Trainer, predict


def groups(batch, size):
    """The batch in row groups; at least one."""
    return [batch.take(torch.arange(start, min(start + size, len(batch)))) for start in range(0, max(len(batch), 1), size)]


def written(folder, batch, size=64, table_rows=1000, **changes):
    write_encoded(folder, groups(batch, size), table_rows)
    return replace(EncodedRows.read(folder), **changes)


def digests(batches):
    return [batch.digest for batch in batches]


@pytest.fixture(scope="module")
def memory():
    return toy().train


@pytest.fixture(scope="module")
def disk(memory, tmp_path_factory):
    """600 events in 10 row groups of 64, three of which fit into a buffer."""
    return written(tmp_path_factory.mktemp("encoded") / "rows", memory, buffer_groups=3)


def test_what_was_written_is_read_in_its_order(memory, disk):
    assert len(disk) == len(memory)
    assert torch.equal(disk.labels, memory.labels)
    assert disk.labels.dtype == torch.float32
    for size in (7, 64, 65, 600, 1000):
        assert digests(disk.in_order(size)) == digests(memory.in_order(size))


@pytest.mark.parametrize("rows", [0, 1, 24, 64, 65, 599, 600, 601])
def test_the_newest_rows_are_the_last_ones(memory, disk, rows):
    assert disk.newest(rows).digest == memory.newest(rows).digest


def test_what_fits_into_one_buffer_is_shuffled_as_in_memory(memory, disk):
    whole = replace(disk, buffer_groups=10)
    assert digests(whole.shuffled(50, 3, 2)) == digests(memory.shuffled(50, 3, 2))
    assert digests(disk.shuffled(50, 3, 2)) != digests(memory.shuffled(50, 3, 2))


def test_events_of_distant_row_groups_meet_in_a_batch(disk, memory):
    place = {tuple(number): row for row, number in enumerate(memory.ids_BF.tolist())}
    first = next(disk.shuffled(64, 0, 0))
    assert len({place[tuple(ids)] // 64 for ids in first.ids_BF.tolist()}) >= 3


def test_row_groups_meet_others_in_another_epoch_and_under_another_seed(disk, memory):
    place = {tuple(number): row for row, number in enumerate(memory.ids_BF.tolist())}

    def first_buffer(seed, epoch):
        return frozenset(place[tuple(ids)] // 64 for ids in next(disk.shuffled(128, seed, epoch)).ids_BF.tolist())

    assert len({first_buffer(0, epoch) for epoch in range(4)}) >= 3
    assert len({first_buffer(seed, 0) for seed in range(4)}) >= 3


def test_a_row_group_is_in_memory_in_types_as_narrow_as_the_table_allows(memory, tmp_path):
    small, large = (written(tmp_path / str(rows), memory, table_rows=rows) for rows in (2**31 - 1, 2**31))
    assert small.digest != large.digest
    assert digests(small.in_order(100)) == digests(large.in_order(100)) == digests(memory.in_order(100))
    beyond = Batch(memory.ids_BF + 2**40, tuple(Bag(bag.rows_M + 2**41, bag.offsets_N) for bag in memory.bags), *numbers_and_labels(memory))
    assert digests(written(tmp_path / "beyond", beyond, table_rows=2**42).in_order(70)) == digests(beyond.in_order(70))


def numbers_and_labels(batch):
    return batch.numbers_BK, batch.labels_B


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_or_none(memory, tmp_path, rows):
    few = memory.take(torch.arange(rows))
    disk = written(tmp_path / "rows", few)
    assert (len(disk), disk.labels.tolist()) == (rows, few.labels.tolist())
    assert digests(disk.in_order(5)) == digests(few.in_order(5))
    assert digests(disk.shuffled(5, 0, 0)) == digests(few.shuffled(5, 0, 0))
    assert disk.newest(3).digest == few.newest(3).digest


@pytest.mark.parametrize("kept", ["single", "lists", "numbers"])
def test_events_with_fields_of_one_kind_only(memory, tmp_path, kept):
    nothing = torch.zeros(600, 0)
    only = Batch(
        memory.ids_BF if kept == "single" else nothing.long(),
        memory.bags if kept == "lists" else (),
        memory.numbers_BK if kept == "numbers" else nothing,
        memory.labels_B,
    )
    assert digests(written(tmp_path / "rows", only).shuffled(70, 0, 0)) == digests(only.shuffled(70, 0, 0))


def test_the_digest_is_the_content_s(memory, disk, tmp_path):
    assert written(tmp_path / "again", memory).digest == disk.digest
    assert written(tmp_path / "other", replace(memory, labels_B=1 - memory.labels_B)).digest != disk.digest


def test_a_buffer_holds_as_many_row_groups_as_its_bytes_allow(memory, tmp_path, monkeypatch):
    size = read_json(written(tmp_path / "rows", memory).path.parent / "manifest.json")["bytes"]
    for bytes_, expected in ((size * 100, 937), (size // 2, 4), (size // 4, 2), (1, 1)):
        monkeypatch.setattr("amtl.data.encoded.BUFFER_BYTES", bytes_)
        assert EncodedRows.read(tmp_path / "rows").buffer_groups == expected


def test_skipped_buffers_are_not_read(disk, memory, monkeypatch):
    from amtl.data import encoded

    read = []
    original = encoded._Groups.read
    monkeypatch.setattr(encoded._Groups, "read", lambda self, index: read.append(index) or original(self, index))
    assert sum(len(batch) for batch in disk.shuffled(50, 0, 0, skip=9)) == 150
    assert len(read) <= 5
    read.clear()
    assert len(disk.newest(100)) == 100
    assert read == [7, 8, 9] or read == [8, 9]


def test_an_iteration_left_early_closes_its_file(disk):
    batches = disk.shuffled(50, 0, 0)
    next(batches)
    batches.close()
    assert digests(disk.shuffled(50, 0, 0)) == digests(disk.shuffled(50, 0, 0))


def test_damage_is_found_before_a_row_is_read(memory, tmp_path):
    folder = written(tmp_path / "rows", memory).path.parent
    for damage in (lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.unlink(), shutil.rmtree):
        copy = shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
        damage(copy if damage is shutil.rmtree else copy / "rows.arrow")
        with pytest.raises(ArtifactError):
            EncodedRows.read(copy)
    for name, entry in (("kind", "bundle"), ("format", 99), ("rows", None), ("bytes", "many")):
        copy = shutil.copytree(folder, tmp_path / f"bad {name}")
        manifest = read_json(copy / "manifest.json") | {name: entry}
        (copy / "manifest.json").write_text(str(manifest).replace("'", '"').replace("None", "null"))
        with pytest.raises(ArtifactError, match="rerun the stage"):
            EncodedRows.read(copy)


def test_a_file_that_vanishes_or_breaks_while_it_is_read_is_named(memory, tmp_path):
    disk = written(tmp_path / "rows", memory, buffer_groups=3)
    content = bytearray(disk.path.read_bytes())
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
    disk.path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"rows\.arrow cannot be read"):
        list(disk.shuffled(50, 0, 0))
    disk.path.unlink()
    for read in (lambda: list(disk.in_order(50)), lambda: disk.labels, lambda: disk.newest(5)):
        with pytest.raises(ArtifactError, match=r"rows\.arrow cannot be read"):
            read()


def fitted(rows, validation, resume=None, killed_after=None):
    """Weights after two epochs; with `killed_after`, training dies before that step."""
    problem, fit = toy(), FitSettings(epochs=2, patience=2, batch_size=64, learning_rate=0.02, seed=0, unknown_rate=0.1, checkpoint_steps=2)
    model = problem.model(seed=0)
    trainer = Trainer(model, fit, torch.device("cpu"), problem.unknown_rows_F, resume=resume, log=silent)
    steps, step = iter(range(10**9)), trainer.step

    def dying(batch):
        if next(steps) == killed_after:
            raise KeyboardInterrupt
        return step(batch)

    trainer.step = dying
    trainer.fit(rows, validation)
    return weights_of(model), predict(model, validation, torch.device("cpu"))


def test_training_on_rows_on_disk_resumes_bit_equal(disk, tmp_path):
    validation = written(tmp_path / "validation", toy().validation)
    whole, expected = fitted(disk, validation)
    for steps in (5, 13):  # in the middle of an epoch, of a buffer, between checkpoints
        resume = tmp_path / str(steps)
        with pytest.raises(KeyboardInterrupt):
            fitted(disk, validation, resume, killed_after=steps)
        resumed, predicted = fitted(disk, validation, resume)
        assert equal_weights(resumed, whole)
        assert np.array_equal(predicted, expected)


def test_training_on_disk_and_in_memory_are_one_where_one_buffer_holds_all(disk, memory):
    on_disk, _ = fitted(replace(disk, buffer_groups=10), toy().validation)
    in_memory, _ = fitted(memory, toy().validation)
    assert equal_weights(on_disk, in_memory)
