import pytest
import torch

from amtl.compare.peers.fixed import fixed, fixed_distilled, width_bytes
from amtl.compare.peers.storage import stored


def test_bytes_by_hand(rows_F):
    assert width_bytes([5, 7], 3, "int8") == 12 * 3 + 2 * 3
    assert width_bytes([5, 7], 3, "fp32") == 12 * 3 * 4


@pytest.mark.parametrize("budget", [300, 700, 1100, 10**9])
def test_the_width_is_the_largest_that_fits(task, rows_F, budget):
    made = fixed(task, budget, "fp32")
    width = made.model.config.dim
    assert made.bytes == task.vocabulary.rows * width * 4 <= budget
    assert width == task.config.dim or task.vocabulary.rows * (width + 1) * 4 > budget
    assert made.model.embedding.weight.shape == (task.vocabulary.rows, width)


def test_the_control_teaches_the_distilled_one_only(task, monkeypatch):
    taught = []
    monkeypatch.setattr(type(task), "train", lambda self, model, distilled: taught.append(distilled) or model)
    fixed(task, 700, "fp32")
    fixed_distilled(task, 700, "fp32")
    assert taught == [False, True]


def test_the_table_is_served_as_it_is_read_back(task, rows_F, monkeypatch):
    monkeypatch.setattr(type(task), "train", lambda self, model, distilled: model)
    made = fixed(task, 300, "int8")
    before = task.fresh(made.details["width"]).embedding.weight.detach().split(rows_F)
    assert torch.equal(made.model.embedding.weight.detach(), torch.cat([stored(part, "int8") for part in before]))
