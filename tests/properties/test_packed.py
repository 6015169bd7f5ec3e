"""The packed table against a naive unpacker of Python integers, for any widths; its bytes against the file on disk."""

import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from amtl.files import publish_tensors
from amtl.model.masked_embedding import MaskedEmbedding
from amtl.packing.bundle import pack_basis, unpack_basis
from amtl.packing.layout import PRECISIONS, Layout, dense_bytes
from amtl.packing.packed_embedding import PackedEmbedding, pack
from amtl.sizing.reflectors import storable

numbers = st.floats(-100, 100, width=32) | st.sampled_from([0.0, -0.0, 1e-8, -1e-30])


@st.composite
def tables(draw, precisions=PRECISIONS):
    """A table, a layout of up to four buckets a field (empty ones and ones of size 0 among them), and rows to look up."""
    dim, rows = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    cells = draw(st.lists(numbers, min_size=dim * rows, max_size=dim * rows))
    precision, buckets = draw(st.sampled_from(precisions)), draw(st.integers(1, 4))
    width = {"fp32": st.just(32), "fp16": st.just(16), "int8": st.just(8)}.get(precision, st.integers(2, 8))
    sizes = draw(st.lists(st.integers(0, dim), min_size=buckets, max_size=buckets))
    bits = [[draw(width) if column < size else 0 for column in range(dim)] for size in sizes]
    bucket = torch.tensor(draw(st.lists(st.integers(0, buckets - 1), min_size=rows, max_size=rows)))
    wanted = draw(st.lists(st.integers(0, rows - 1), max_size=20))
    layout = Layout(torch.tensor(bits, dtype=torch.uint8), torch.zeros(buckets, dtype=torch.int64), bucket)
    return torch.tensor(cells).view(rows, dim), layout, torch.tensor(wanted, dtype=torch.int64)


def as_half(number):
    """The nearest half-precision number, by the standard library."""
    return struct.unpack("e", struct.pack("e", number))[0]


def looked_up(table, layout, wanted):
    return PackedEmbedding(pack(table, layout), layout.dim)(layout.order()[1][wanted])


def unpacked(tensors, layout):
    """Every packed row, read from one large Python integer; float32 sums and products as the codes are defined."""
    stream, place = int.from_bytes(tensors["codes"].numpy().tobytes(), "little"), 0
    steps, result = tensors.get("scales", torch.zeros(0)).tolist(), []
    for widths, rows in zip(layout.bits_KD.tolist(), layout.rows_K.tolist(), strict=True):
        widths = [width for width in widths if width]
        scales, steps = [np.float32(0 if step == 255 else 2.0 ** (step / 6 - 24)) for step in steps[: len(widths)]], steps[len(widths) :]
        for _ in range(rows):
            row = [0.0] * layout.dim
            for column, (width, scale) in enumerate(zip(widths, scales, strict=True)):
                code = stream >> place & ((1 << width) - 1)
                row[column] = float(np.float32(code + 0.5 - 2 ** (width - 1)) * scale)
                place += width
            result.append(row)
        place = -(-place // 8) * 8
    assert place == 8 * len(tensors["codes"])
    assert not steps
    return torch.tensor(result)


@settings(max_examples=100, deadline=None)
@given(tables(["fp32"]))
def test_in_fp32_a_packed_row_is_the_masked_row_bit_by_bit(drawn):
    table, layout, wanted = drawn
    masked = MaskedEmbedding(nn.Embedding.from_pretrained(table), layout.sizes_V)(wanted)
    found = looked_up(table, layout, wanted)
    assert found.dtype == torch.float32
    assert found.shape == masked.shape
    assert torch.equal(found, masked)


@settings(max_examples=60, deadline=None)
@given(tables(["fp16"]))
def test_in_fp16_each_number_is_rounded_to_the_nearest(drawn):
    table, layout, wanted = drawn
    sizes = layout.sizes_V
    expected = [[as_half(x) if j < sizes[row] else 0.0 for j, x in enumerate(table[row].tolist())] for row in wanted.tolist()]
    assert looked_up(table, layout, wanted).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(tables(["int8", "mixed"]))
def test_codes_are_read_as_a_naive_unpacker_reads_them(drawn):
    table, layout, wanted = drawn
    tensors = pack(table, layout)
    expected = unpacked(tensors, layout)[layout.order()[1][wanted]].view(len(wanted), layout.dim)
    assert torch.equal(PackedEmbedding(tensors, layout.dim)(layout.order()[1][wanted]), expected)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 16, 32])
def test_every_width_alone_is_read_back(bits):
    table = torch.randn(77, 5, generator=torch.Generator().manual_seed(bits))
    layout = Layout(torch.full((1, 5), bits, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), torch.zeros(77, dtype=torch.int64))
    tensors, rows = pack(table, layout), torch.arange(77)
    found = PackedEmbedding(tensors, 5)(rows)
    if bits <= 8:
        assert torch.equal(found, unpacked(tensors, layout))
        assert len(tensors["codes"]) == -(-77 * 5 * bits // 8)
    assert (found - table).square().mean() < 2 * {16: 1e-6, 32: 0.0}.get(bits, 2.6 * 4.0**-bits) + 1e-12


@settings(max_examples=150, deadline=None)
@given(drawn=tables(), basis=st.booleans())
def test_the_layout_knows_the_bytes_of_the_file(tmp_path_factory, drawn, basis):
    table, layout, _ = drawn
    tensors = pack(table, layout)
    if basis:
        tensors |= pack_basis(torch.eye(layout.dim).unsqueeze(0), layout.widest_F)
    path = tmp_path_factory.getbasetemp() / "table.safetensors"
    save_file(tensors, path)
    assert path.stat().st_size == layout.bytes(stored_basis=basis)


@pytest.mark.parametrize(("rows", "fields"), [(1, 1), (255, 3), (256, 3), (40_000, 2)])
def test_the_bytes_are_exact_where_counts_need_wider_types(tmp_path, rows, fields):
    sizes, field = torch.arange(rows) % 3, torch.arange(rows) * fields // rows
    for precision in ("fp32", "fp16", "int8"):
        layout = Layout.of_sizes(sizes, field, 300, precision)
        publish_tensors(tmp_path / "table", pack(torch.ones(rows, 300), layout))
        assert (tmp_path / "table").stat().st_size == layout.bytes()


@given(tables())
def test_order_is_by_bucket_and_its_inverse_finds_every_row(drawn):
    _, layout, _ = drawn
    order, packed_row = layout.order()
    assert order.tolist() == sorted(range(len(order)), key=lambda row: (int(layout.bucket_V[row]), row))
    assert torch.equal(order[packed_row], torch.arange(len(order)))


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_layout_of_sizes_is_a_bucket_for_each_field_and_size(data):
    rows = data.draw(st.integers(1, 20))
    sizes = torch.tensor(data.draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows)))
    field = torch.tensor(sorted(data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))))
    layout = Layout.of_sizes(sizes, field, 5, "fp16")
    assert torch.equal(layout.sizes_V, sizes)
    assert torch.equal(layout.field_K[layout.bucket_V], field)
    pairs = sorted({(int(own), int(size)) for own, size in zip(field, sizes, strict=True)})
    assert list(zip(layout.field_K.tolist(), layout.sizes_K.tolist(), strict=True)) == pairs
    widest = [max((size for own, size in pairs if own == index), default=0) for index in range(int(field.max()) + 1)]
    assert layout.widest_F.tolist() == widest


@pytest.mark.parametrize("bits", [[[32, 16]], [[32, 8]], [[0, 8]], [[1, 0]], [[9, 0]]])
def test_a_layout_that_no_file_can_hold_is_refused(bits):
    with pytest.raises(ValueError, match="layout"):
        Layout(torch.tensor(bits, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))


def test_places_beyond_two_to_the_31_are_found(tmp_path):
    """A sparse file of 2^31 codes and more stands for the table; only the last row is written."""
    dim, rows = 1024, 2**21 + 2**12
    with (tmp_path / "codes").open("wb") as file:
        file.truncate(dim * rows)
        file.seek(-dim, 2)
        file.write(bytes(index % 100 for index in range(dim)))
    codes = torch.from_file(str(tmp_path / "codes"), shared=True, size=dim * rows, dtype=torch.uint8)
    tensors = {"codes": codes, "rows": torch.tensor([rows]), "sizes": torch.tensor([dim])}
    one = torch.full((dim,), 144, dtype=torch.uint8)
    lookup = PackedEmbedding({**tensors, "scales": one}, dim)
    bits = PackedEmbedding({**tensors, "scales": one, "bits": torch.full((dim // 2,), 0x88, dtype=torch.uint8)}, dim)
    for found in (lookup(torch.tensor([rows - 1, 0])), bits(torch.tensor([rows - 1, 0]))):
        assert found[0].tolist() == [index % 100 - 127.5 for index in range(dim)]
        assert (found[1] == -127.5).all()


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e5])
def test_numbers_that_cannot_be_stored_are_refused(kind, number):
    layout = Layout.of_sizes(torch.tensor([1, 2]), torch.zeros(2, dtype=torch.int64), 2, kind)
    if number == 1e5 and kind != "fp16":
        assert pack(torch.tensor([[number, 0.0], [0.0, 0.0]]), layout)
        return
    with pytest.raises(ValueError, match="finite"):
        pack(torch.tensor([[number, 0.0], [0.0, 0.0]]), layout)


def test_a_stored_basis_is_the_rows_that_its_fields_keep():
    random = torch.linalg.qr(torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0)))[0]
    basis, widest = storable(random).float(), [4, 0, 6]
    packed = pack_basis(basis, torch.tensor(widest))
    restored = unpack_basis(packed, 6)
    assert packed["basis"].dtype == torch.int8
    assert len(packed["basis"]) == (5 + 4 + 3 + 2) + 0 + (5 + 4 + 3 + 2 + 1)
    for field, rows in enumerate(widest):
        assert torch.equal(restored[field, :rows], basis[field, :rows])
        assert not restored[field, rows:].any()


def test_a_table_without_a_basis_has_none():
    assert unpack_basis({"codes": torch.zeros(1)}, 6) is None


def test_dense_bytes_are_fp32_at_full_width():
    assert dense_bytes(10**9, 64) == 4 * 64 * 10**9
