"""The ragged table against the masked one and a naive quantiser, for any sizes; the budget against the file on disk."""

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import toy

from amtl.errors import BudgetError
from amtl.files import publish_tensors
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.budget import HEADER_BYTES, NUMBER_BYTES, Costs, dense_bytes, sizes_within
from amtl.packing.bundle import pack_basis, unpack_basis
from amtl.packing.packed_embedding import PackedEmbedding, order_by_size, pack
from amtl.sizing.search import Front

PRECISIONS = ["fp32", "fp16", "int8"]
numbers = st.floats(-100, 100, width=32) | st.sampled_from([0.0, -0.0, 1e-8, -1e-30])


@st.composite
def tables(draw):
    """A table, sizes from 0 to D, and rows to look up in any order."""
    dim, rows = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    cells = draw(st.lists(numbers, min_size=dim * rows, max_size=dim * rows))
    sizes = draw(st.lists(st.integers(0, dim), min_size=rows, max_size=rows) | st.sampled_from([[0] * rows, [dim] * rows]))
    wanted = draw(st.lists(st.integers(0, rows - 1), max_size=20))
    return torch.tensor(cells).view(rows, dim), torch.tensor(sizes), torch.tensor(wanted, dtype=torch.int64)


def as_half(number):
    """The nearest half-precision number, by the standard library."""
    return struct.unpack("e", struct.pack("e", number))[0]


def looked_up(table, sizes, wanted, precision):
    packed = pack(table, sizes, precision)
    _, packed_row = order_by_size(sizes)
    return PackedEmbedding(packed["values"], packed["boundaries"], packed.get("scales"))(packed_row[wanted])


@settings(max_examples=150, deadline=None)
@given(tables())
def test_in_fp32_a_packed_row_is_the_masked_row_bit_by_bit(drawn):
    table, sizes, wanted = drawn
    masked = MaskedEmbedding(nn.Embedding.from_pretrained(table), sizes)(wanted)
    found = looked_up(table, sizes, wanted, "fp32")
    assert found.dtype == torch.float32
    assert found.shape == masked.shape
    assert torch.equal(found, masked)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_in_fp16_each_number_is_rounded_to_the_nearest(drawn):
    table, sizes, wanted = drawn
    expected = [[as_half(x) if j < sizes[row] else 0.0 for j, x in enumerate(table[row].tolist())] for row in wanted.tolist()]
    assert looked_up(table, sizes, wanted, "fp16").tolist() == expected


@settings(max_examples=100, deadline=None)
@given(tables())
def test_in_int8_each_number_is_a_code_times_its_row_s_scale(drawn):
    table, sizes, wanted = drawn
    found = looked_up(table, sizes, wanted, "int8")
    for vector, row in zip(found.tolist(), wanted.tolist(), strict=True):
        kept = table[row].tolist()[: sizes[row]]
        scale = max(as_half(float(np.float32(max(map(abs, kept), default=0.0)) / np.float32(127))), 2.0**-14)
        codes = [max(-127, min(127, round(float(np.float32(x) / np.float32(scale))))) for x in kept]
        assert vector == [code * scale for code in codes] + [0.0] * (len(vector) - len(kept))
        assert all(abs(x - y) <= 0.6 * scale for x, y in zip(vector, kept, strict=False))


@settings(max_examples=100, deadline=None)
@given(tables(), st.sampled_from(PRECISIONS))
def test_nothing_is_stored_but_numbers_boundaries_and_scales(drawn, precision):
    table, sizes, _ = drawn
    packed = pack(table, sizes, precision)
    assert len(packed["values"]) == int(sizes.sum())
    assert packed["boundaries"].tolist() == [int((sizes < size).sum()) for size in range(table.shape[1] + 2)]
    assert ("scales" in packed) == (precision == "int8")
    if precision == "int8":
        assert len(packed["scales"]) == int((sizes > 0).sum())


@given(tables())
def test_order_is_by_size_and_its_inverse_finds_every_row(drawn):
    _, sizes, _ = drawn
    order, packed_row = order_by_size(sizes)
    assert order.tolist() == sorted(range(len(sizes)), key=lambda row: (int(sizes[row]), row))
    assert torch.equal(order[packed_row], torch.arange(len(sizes)))


def test_a_row_of_large_numbers_beside_small_ones_keeps_its_own_scale():
    table, sizes = torch.tensor([[1000.0, -500.0], [0.1, 0.05]]), torch.tensor([2, 2])
    found = looked_up(table, sizes, torch.tensor([0, 1]), "int8")
    torch.testing.assert_close(found, table, rtol=0.01, atol=0)


def test_places_beyond_two_to_the_31_are_found(tmp_path):
    """A sparse file of 2^31 numbers and more stands for the table; only the last row is written."""
    dim, narrow, wide = 1024, 2**21 + 2**12, 2
    with (tmp_path / "values").open("wb") as file:
        file.truncate((dim - 1) * narrow + dim * wide)
        file.seek(-dim, 2)
        file.write(bytes(index % 100 for index in range(dim)))
    values = torch.from_file(str(tmp_path / "values"), shared=True, size=(dim - 1) * narrow + dim * wide, dtype=torch.int8)
    boundaries = torch.tensor([0] * dim + [narrow, narrow + wide])
    packed = PackedEmbedding(values, boundaries, torch.ones(narrow + wide, dtype=torch.float16))
    found = packed(torch.tensor([narrow + 1, narrow, narrow - 1, 0]))
    assert found[0].tolist() == [index % 100 for index in range(dim)]
    assert not found[1:].any()


@pytest.mark.parametrize(
    ("values", "boundaries", "scales"),
    [
        (torch.zeros(5), torch.tensor([0, 0, 1, 2]), None),
        (torch.zeros(3), torch.tensor([0, 2, 1, 2]), None),
        (torch.zeros(3), torch.tensor([1, 1, 2, 3]), None),
        (torch.zeros(3), torch.tensor([0, -1, 0, 1]), None),
        (torch.zeros(3), torch.tensor([0.0, 0.0, 1.0, 2.0]), None),
        (torch.zeros(0), torch.tensor([0, 1]), None),
        (torch.zeros(3, dtype=torch.int8), torch.tensor([0, 0, 1, 2]), None),
        (torch.zeros(3, dtype=torch.int8), torch.tensor([0, 0, 1, 2]), torch.ones(1)),
        (torch.zeros(3), torch.tensor([0, 0, 1, 2]), torch.ones(2)),
        (torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0, 1, 2]), None),
        (torch.zeros(3, 1), torch.tensor([0, 0, 1, 2]), None),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(values, boundaries, scales):
    assert PackedEmbedding(torch.zeros(3), torch.tensor([0, 0, 1, 2])).rows == 2
    with pytest.raises(ValueError, match="table"):
        PackedEmbedding(values, boundaries, scales)


@st.composite
def fronts(draw):
    """A front over the toy's three fields (32, 14 and 6 rows) of width 6, with groups of any number of rows."""
    dim, per_field = 6, draw(st.integers(1, 5))
    rows = list(toy().vocabulary.sizes.values())
    group = [field * per_field + draw(st.integers(0, per_field - 1)) for field, count in enumerate(rows) for _ in range(count)]
    rungs = draw(st.integers(1, 3))
    cell = st.floats(0, dim)
    wanted = draw(st.lists(st.lists(cell, min_size=3 * per_field, max_size=3 * per_field), min_size=rungs, max_size=rungs))
    group_V = torch.tensor(group)
    return Front(
        share_R=torch.linspace(0.6, 0.1, rungs),
        wanted_RG=torch.tensor(wanted),
        group_V=group_V,
        values_G=torch.bincount(group_V, minlength=3 * per_field),
        limit_G=torch.tensor([draw(st.integers(1, dim)) for _ in rows]).repeat_interleave(per_field),
        dim=dim,
        fields=3,
    )


def table_file(folder, front, sizes_V, precision, basis):
    """The file that a bundle would hold."""
    tensors = pack(torch.randn(len(sizes_V), front.dim), sizes_V, precision)
    if basis:
        tensors |= pack_basis(torch.linalg.qr(torch.randn(front.fields, front.dim, front.dim))[0], sizes_V, toy().vocabulary)
    publish_tensors(folder / "table.safetensors", tensors)
    return folder / "table.safetensors"


@settings(max_examples=150, deadline=None)
@given(front=fronts(), share=st.floats(0, 1.3), precision=st.sampled_from(PRECISIONS), basis=st.booleans())
def test_the_file_meets_the_budget_and_nothing_more_would_fit(tmp_path_factory, front, share, precision, basis):
    costs, rows = Costs(precision, basis), len(front.group_V)
    budget = HEADER_BYTES + int(share * dense_bytes(rows, front.dim))
    try:
        sizes_V = sizes_within(front, budget, costs)
    except BudgetError:
        assert costs.bytes(torch.zeros_like(front.values_G), front) > budget
        return
    assert sizes_V.dtype == torch.int64
    assert table_file(tmp_path_factory.getbasetemp(), front, sizes_V, precision, basis).stat().st_size <= budget
    for group in range(len(front.values_G)):
        assert len(sizes_V[front.group_V == group].unique()) <= 1
    limit_V = front.limit_G[front.group_V]
    assert (sizes_V <= limit_V).all()
    sizes_G = torch.zeros_like(front.values_G).index_put((front.group_V,), sizes_V)
    for group in front.group_V.unique().tolist():
        grown_G = sizes_G.clone()
        grown_G[group] += 1
        assert grown_G[group] > front.limit_G[group] or costs.bytes(grown_G, front) > budget


@settings(max_examples=40, deadline=None)
@given(front=fronts(), precision=st.sampled_from(PRECISIONS), basis=st.booleans())
def test_the_price_is_the_file_s_bytes_but_for_the_header(tmp_path_factory, front, precision, basis):
    sizes_G = torch.minimum(front.wanted_RG[0].round().long(), front.limit_G)
    file = table_file(tmp_path_factory.getbasetemp(), front, sizes_G[front.group_V], precision, basis).read_bytes()
    header = 8 + int.from_bytes(file[:8], "little")
    assert Costs(precision, basis).bytes(sizes_G, front) - HEADER_BYTES == len(file) - header
    assert header <= HEADER_BYTES


@settings(max_examples=40, deadline=None)
@given(front=fronts(), precision=st.sampled_from(PRECISIONS), budgets=st.tuples(st.integers(700, 3000), st.integers(0, 1000)))
def test_a_larger_budget_keeps_about_as_much_or_more(front, precision, budgets):
    """Not number by number: what one group more costs, another gets less. But what is left is less than one dimension."""
    small, more = budgets
    costs, kept = Costs(precision, stores_basis=False), []
    for budget in (small, small + more):
        try:
            kept.append(int(sizes_within(front, budget, costs).sum()))
        except BudgetError:
            kept.append(0)
    slack = int(front.values_G.max()) * (1 + 2 / NUMBER_BYTES[precision])
    assert kept[1] >= kept[0] - slack - 2 * len(front.group_V) / NUMBER_BYTES[precision]


def test_a_whole_table_is_every_useful_dimension_and_no_more():
    vocabulary = toy().vocabulary
    group_V = torch.from_numpy(vocabulary.fields_V)
    front = Front(torch.tensor([0.5]), torch.full((1, 3), 2.0), group_V, torch.bincount(group_V), torch.tensor([6, 6, 6]), 6, 3)
    narrow = replace(front, limit_G=torch.tensor([6, 6, 3]))
    plenty = 10**9
    assert sizes_within(front, plenty, Costs("fp32", stores_basis=False)).tolist() == [6] * vocabulary.rows
    assert sizes_within(narrow, plenty, Costs("fp32", stores_basis=False))[-6:].tolist() == [3] * 6


def test_a_budget_between_two_rungs_interpolates_and_prefers_what_the_front_prefers():
    group_V = torch.arange(2).repeat_interleave(50)
    wanted = torch.tensor([[8.0, 4.0], [4.0, 0.0]])
    front = Front(torch.tensor([0.75, 0.25]), wanted, group_V, torch.tensor([50, 50]), torch.tensor([8, 8]), 8, 1)
    overhead = Costs("fp32", stores_basis=False).bytes(torch.zeros(2, dtype=torch.int64), front)
    for sizes in ([8, 4], [6, 2], [7, 3], [4, 0], [2, 0]):
        found = sizes_within(front, overhead + 200 * sum(sizes), Costs("fp32", stores_basis=False))
        assert found[[0, 50]].tolist() == sizes


def test_a_budget_below_header_and_boundaries_is_refused_with_the_bytes_it_needs():
    front = Front(torch.tensor([0.5]), torch.ones(1, 1), torch.zeros(9, dtype=torch.int64), torch.tensor([9]), torch.tensor([6]), 6, 1)
    costs = Costs("int8", stores_basis=True)
    least = costs.bytes(torch.zeros(1, dtype=torch.int64), front)
    with pytest.raises(BudgetError, match=rf"{least - 1:,} bytes cannot be met.*{least:,} bytes"):
        sizes_within(front, least - 1, costs)
    assert sizes_within(front, least, costs).tolist() == [0] * 9


def test_the_header_of_the_largest_table_is_within_its_bound():
    """safetensors writes names, types, shapes and places as JSON; longest for numbers of many digits."""
    names = {"values": "I8", "boundaries": "I64", "scales": "F16", "basis": "I8", "basis_rows": "I64"}
    huge = 10**14
    entries = [f'"{name}":{{"dtype":"{kind}","shape":[{huge},{huge}],"data_offsets":[{huge},{huge}]}}' for name, kind in names.items()]
    assert 8 + len("{" + ",".join(entries) + "}") + 8 <= HEADER_BYTES


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), data=st.data())
def test_a_stored_basis_is_the_rows_that_its_fields_keep(seed, data):
    vocabulary, dim = toy().vocabulary, 6
    sizes = torch.tensor(data.draw(st.lists(st.integers(0, dim), min_size=vocabulary.rows, max_size=vocabulary.rows)))
    codes = torch.randint(-127, 128, (3, dim, dim), generator=torch.Generator().manual_seed(seed))
    basis = (codes.double() / 127).float()
    packed = pack_basis(basis, sizes, vocabulary)
    restored = unpack_basis(packed)
    assert packed["basis"].dtype == torch.int8
    for field in range(3):
        widest = max(int(size) for size, own in zip(sizes, vocabulary.fields_V, strict=True) if own == field)
        assert torch.equal(restored[field, :widest], basis[field, :widest])
        assert not restored[field, widest:].any()
    assert len(packed["basis"]) == int(packed["basis_rows"].sum())


def test_a_table_without_a_basis_has_none():
    assert unpack_basis({"values": torch.zeros(1)}) is None


def test_dense_bytes_are_fp32_at_full_width():
    assert dense_bytes(10**9, 64) == 4 * 64 * 10**9
