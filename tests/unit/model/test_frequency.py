"""Groups of values by frequency, and by frequency and energy, against the formulas."""

import math

import pytest
import torch

from amtl.model.frequency import group_by_frequency, group_by_frequency_and_energy

COUNTS = torch.tensor([900, 70, 70, 12, 5, 1, 0, 40, 3, 3, 1, 0, 0])
FIELDS = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])


def z_scores(numbers):
    mean = sum(numbers) / len(numbers)
    std = math.sqrt(sum((number - mean) ** 2 for number in numbers) / len(numbers))
    return [(number - mean) / std for number in numbers]


def frequency_vector(value):
    """log1p(count) over the largest, z-score in the field, rank percentile: of one value, by hand."""
    members = [i for i in range(len(COUNTS)) if FIELDS[i] == FIELDS[value]]
    logs = [math.log1p(int(COUNTS[i])) for i in members]
    own = math.log1p(int(COUNTS[value]))
    below, ties = sum(log < own for log in logs), sum(log == own for log in logs)
    return [own / math.log1p(int(COUNTS.max())), z_scores(logs)[members.index(value)], (below + (ties + 1) / 2) / len(logs)]


def test_equal_counts_share_a_group_and_fields_do_not():
    grouped = group_by_frequency(COUNTS, FIELDS, 8)
    for one in range(len(COUNTS)):
        for other in range(len(COUNTS)):
            same = bool(COUNTS[one] == COUNTS[other]) and bool(FIELDS[one] == FIELDS[other])
            assert bool(grouped.group_V[one] == grouped.group_V[other]) == same
    assert torch.equal(grouped.group_V // 8, FIELDS)
    assert torch.equal(grouped.values_G, torch.bincount(grouped.group_V, minlength=16))


def test_features_and_alpha_are_the_formula():
    grouped = group_by_frequency(COUNTS, FIELDS, 8)
    for value in range(len(COUNTS)):
        group, expected = grouped.group_V[value], frequency_vector(value)
        assert grouped.features_GS[group].tolist() == pytest.approx(expected, abs=1e-6)
        assert float(grouped.alpha_G[group]) == pytest.approx(1 / (1 + math.exp(-expected[1])), abs=1e-6)


@pytest.mark.parametrize("norm", ["log", "raw", "rank"])
def test_alpha_is_the_sigmoid_of_the_z_score_of_what_is_asked_for(norm):
    grouped = group_by_frequency(COUNTS, FIELDS, 8, norm)
    for value in range(len(COUNTS)):
        members = [other for other in range(len(COUNTS)) if FIELDS[other] == FIELDS[value]]
        numbers = {
            "log": [math.log1p(int(COUNTS[member])) for member in members],
            "raw": [int(COUNTS[member]) for member in members],
            "rank": [frequency_vector(member)[2] for member in members],
        }
        expected = 1 / (1 + math.exp(-z_scores(numbers[norm])[members.index(value)]))
        assert float(grouped.alpha_G[grouped.group_V[value]]) == pytest.approx(expected, abs=1e-6)
    assert torch.equal(grouped.features_GS, group_by_frequency(COUNTS, FIELDS, 8).features_GS)


def test_more_counts_than_groups_are_cut_into_intervals_of_log_count():
    counts = torch.arange(0, 5000, 7)
    grouped = group_by_frequency(counts, torch.zeros_like(counts), 4)
    width = math.log1p(int(counts.max())) / 4
    assert grouped.group_V.tolist() == [min(3, int(math.log1p(int(count)) / width)) for count in counts]
    members = grouped.group_V == 2
    mean = torch.log1p(counts[members].double()).mean() / math.log1p(int(counts.max()))
    assert float(grouped.features_GS[2, 0]) == pytest.approx(float(mean), rel=1e-5)


@pytest.mark.parametrize("values", [1, 3, 7, 1000])
@pytest.mark.parametrize("count", [0, 2, 5, 7])
def test_a_field_of_equal_counts_is_one_group_at_half(values, count):
    grouped = group_by_frequency(torch.full((values,), count), torch.zeros(values, dtype=torch.int64), 4)
    assert grouped.values_G.tolist() == [values, 0, 0, 0]
    assert grouped.alpha_G[0] == 0.5
    assert torch.isfinite(grouped.features_GS).all()


def test_a_field_without_values_leaves_its_groups_empty():
    grouped = group_by_frequency(torch.tensor([3, 4]), torch.tensor([0, 2]), 2)
    assert grouped.fields == 3
    assert grouped.values_G.tolist() == [1, 0, 0, 0, 1, 0]
    assert torch.isfinite(grouped.features_GS).all()


def test_rank_is_highest_for_the_most_frequent():
    grouped = group_by_frequency(torch.tensor([9, 1, 4]), torch.zeros(3, dtype=torch.int64), 4)
    assert grouped.features_GS[grouped.group_V, 2].tolist() == pytest.approx([1.0, 1 / 3, 2 / 3])


def test_frequency_and_energy_are_quantiles_within_quantiles():
    torch.manual_seed(0)
    counts, energies = torch.randint(0, 1000, (48,)), torch.rand(48, 2)
    fields = torch.arange(2).repeat_interleave(24)
    grouped = group_by_frequency_and_energy(counts, fields, energies, 3, 4)
    assert grouped.values_G.tolist() == [2] * 24
    for field in range(2):
        members = [i for i in range(48) if fields[i] == field]
        by_count = sorted(members, key=lambda i: (int(counts[i]), i))
        for third in range(3):
            inside = sorted(by_count[third * 8 : third * 8 + 8], key=lambda i: float(energies[i, 0]))
            expected = [field * 12 + third * 4 + place // 2 for place in range(8)]
            assert grouped.group_V[inside].tolist() == expected


def test_energy_features_are_z_scored_logs_beside_the_frequency_vector():
    torch.manual_seed(0)
    energies = torch.rand(len(COUNTS), 2)
    energies[3] = 0.0
    grouped = group_by_frequency_and_energy(COUNTS, FIELDS, energies, 7, 7)
    assert int(grouped.values_G.max()) == 1
    for field in range(2):
        members = FIELDS.eq(field).nonzero().flatten().tolist()
        columns = [z_scores([math.log(float(energies[i, e]) + 1e-12) for i in members]) for e in range(2)]
        for place, value in enumerate(members):
            found = grouped.features_GS[grouped.group_V[value]].tolist()
            assert found == pytest.approx([*frequency_vector(value), columns[0][place], columns[1][place]], abs=1e-4)
            assert float(grouped.alpha_G[grouped.group_V[value]]) == pytest.approx(1 / (1 + math.exp(-found[1])), abs=1e-6)


def test_equal_energies_and_fields_of_few_values_are_grouped():
    grouped = group_by_frequency_and_energy(torch.tensor([5, 5, 5, 2]), torch.tensor([0, 0, 0, 1]), torch.full((4, 2), 0.3), 8, 16)
    assert grouped.values_G.sum() == 4
    assert torch.isfinite(grouped.features_GS).all()
    assert (grouped.features_GS[:, 3:] == 0).all()
    assert (grouped.features_GS[:, 1] == 0).all()
