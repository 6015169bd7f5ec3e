"""The front: what selectors make of it, and on disk."""

import math

import pytest
import torch

from amtl.errors import ArtifactError
from amtl.files import publish_tensors, read_tensors
from amtl.sizing.front import Front


def front(**changed):
    """Two fields of 3 and 2 rows, D = 4, sizes 0, 1, 2, 4."""
    costs = torch.tensor([[8.0, 4, 1, 0], [3, 3, 3, 0], [0, 0, 0, 0], [9, 1, 0, 0], [1, 0, 0, 0]])
    usual = {
        "size_L1": torch.tensor([0, 1, 2, 4]),
        "costs_VL1": costs,
        "noise_FD": torch.ones(2, 4),
        "lookups_V": torch.tensor([0.5, 0.1, 0.005, 1.0, 0.3]),
        "field_V": torch.tensor([0, 0, 0, 1, 1]),
        "events": 100,
    }
    return Front(**{**usual, **changed})


def test_curvature_s_worth_is_what_a_level_s_cost_falls_by():
    assert front().worth_of("curvature").tolist()[:2] == [[4, 3, 1], [0, 0, 3]]


def sizes_at(found, selector, threshold):
    """Largest level whose price (worth a dimension) is not below the threshold."""
    price_VL = (found.worth_of(selector) / found.size_L1.diff()).cummin(1).values
    return found.size_L1[(price_VL >= threshold).sum(1)].tolist()


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 1.4])
def test_the_rule_s_thresholds_are_its_sizes(scale):
    """T = c log(1 + n), rounded down to a level; c is one over the threshold."""
    found = front(size_L1=torch.arange(4), costs_VL1=torch.zeros(5, 4), field_V=torch.zeros(5, dtype=torch.int64))
    expected = [min(3, math.floor(scale * math.log1p(n) + 1e-6)) for n in (50, 10, 0.5, 100, 30)]
    assert sizes_at(found, "rule", 1 / scale) == expected


def test_uniform_gives_all_rows_one_size():
    found = front(field_V=torch.zeros(5, dtype=torch.int64))
    assert [sizes_at(found, "uniform", 1 / size) for size in (4, 2, 1)] == [[4] * 5, [2] * 5, [1] * 5]
    assert sizes_at(found, "uniform", 1.1) == [0] * 5


def test_no_level_is_worth_anything_where_a_field_of_few_rows_is_zero():
    """Field 1 has two rows, which span two dimensions."""
    for selector in ("rule", "uniform"):
        worth = front().worth_of(selector)
        assert not worth[3:, 2].any()
        assert worth[3:, :2].all()
        assert worth[:3].all()


def test_a_selector_can_be_added_and_an_unknown_one_is_refused():
    worth = torch.rand(5, 3)
    more = front().with_worth("twins", worth)
    assert torch.equal(more.worth_of("twins"), worth)
    assert more.selectors == ("curvature", "rule", "uniform", "twins")
    with pytest.raises(ValueError, match="no worth by twins; it knows curvature, rule, uniform"):
        front().worth_of("twins")


def test_a_front_survives_the_disk(tmp_path):
    written = front().with_worth("twins", torch.rand(5, 3))
    written.write(tmp_path / "front")
    again = Front.read(tmp_path / "front")
    assert again.events == 100
    for name in ("size_L1", "costs_VL1", "noise_FD", "lookups_V", "field_V"):
        assert torch.equal(getattr(again, name), getattr(written, name))
    assert torch.equal(again.worth_of("twins"), written.worth_of("twins"))


def test_a_front_that_is_missing_or_lacks_a_tensor_is_refused(tmp_path):
    with pytest.raises(ArtifactError):
        Front.read(tmp_path / "front")
    front().write(tmp_path / "front")
    tensors = read_tensors(tmp_path / "front")
    for name in tensors:
        publish_tensors(tmp_path / "damaged", {key: tensor for key, tensor in tensors.items() if key != name})
        with pytest.raises(ArtifactError, match="dvc repro search"):
            Front.read(tmp_path / "damaged")


@pytest.mark.parametrize("name", ["costs_VL1", "noise_FD", "lookups_V", "field_V"])
def test_tensors_that_do_not_fit_together_are_refused(tmp_path, name):
    front(**{name: getattr(front(), name)[1:].contiguous()}).write(tmp_path / "front")
    with pytest.raises(ArtifactError, match="does not fit"):
        Front.read(tmp_path / "front")


def test_worth_that_does_not_fit_is_refused(tmp_path):
    front().with_worth("twins", torch.rand(5, 2)).write(tmp_path / "front")
    with pytest.raises(ArtifactError, match="worth by twins"):
        Front.read(tmp_path / "front")
