import torch
from torch import nn

from amtl.anymodel.layouts import layouts_within, packed_bytes
from amtl.anymodel.measure import Measured
from amtl.anymodel.shares import budget_shares
from amtl.anymodel.tables import Table
from amtl.packing.allocation import cutting_cost
from amtl.sizing.front import Front


def measured(rows, dim, scale, seed):
    """A table whose costs fall with the size, `scale` times as dear as those of another."""
    generator = torch.Generator().manual_seed(seed)
    worth_VL = torch.rand(rows, dim, generator=generator) ** 4 * 0.6 ** torch.arange(dim) * scale
    costs_VL1 = torch.nn.functional.pad(worth_VL.flip(1).cumsum(1).flip(1), (0, 1))
    front = Front(
        size_L1=torch.arange(dim + 1),
        costs_VL1=costs_VL1,
        noise_FD=torch.full((1, dim), 1e-6),
        lookups_V=torch.full((rows,), 1 / rows),
        field_V=torch.zeros(rows, dtype=torch.int64),
        events=1000,
    )
    reader = nn.Embedding(rows, dim)
    return Measured(Table("table", {"table": reader}), torch.randn(rows, dim, generator=generator), None, front)


TABLES = [measured(400, 4, 1.0, seed=0), measured(300, 8, 30.0, seed=1)]


def cost_of(tables, layouts):
    """What cutting to the layouts costs; levels are sizes here."""
    return sum(cutting_cost(table.front, layout.sizes_V) for table, layout in zip(tables, layouts, strict=True))


def test_shares_add_up_and_no_other_split_is_much_better():
    budget = 1500
    shares = budget_shares(TABLES, budget, "int8")
    assert sum(share.bytes for share in shares) == budget
    layouts = layouts_within(TABLES, budget, "int8")
    assert sum(packed_bytes(table, layout) for table, layout in zip(TABLES, layouts, strict=True)) <= budget
    splits = []
    for eighth in range(1, 8):
        first = budget * eighth // 8
        split = [*layouts_within(TABLES[:1], first, "int8"), *layouts_within(TABLES[1:], budget - first, "int8")]
        splits.append(cost_of(TABLES, split))
    assert cost_of(TABLES, layouts) <= 1.02 * min(splits)
    assert max(splits) > 1.2 * min(splits)
