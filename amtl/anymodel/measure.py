"""What every row of every table is worth at every size, and the basis that it is stored in: two passes over the same events.

The first pass gives each table's curvature and lookups, hence its balanced basis (`amtl.sizing.basis`); the second, with rows and
gradients in that basis, what cutting each row costs (`amtl.sizing.costs`). A row e is stored as z, e = z R, with the basis R in int8 and
z by R's exact inverse, so that nothing is lost at full size. With several outputs an event counts once for each, and costs are the sum.

Shapes: V rows and D dimensions of one table, L levels above 0, M looked-up rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amtl.anymodel.lookup import CODES
from amtl.anymodel.tables import Table
from amtl.anymodel.trace import Lookups, Trace
from amtl.errors import ParamsError
from amtl.sizing.basis import balanced_basis
from amtl.sizing.costs import Looked, Sample, row_costs
from amtl.sizing.front import UNSEEN, Front
from amtl.sizing.levels import size_levels


@dataclass(frozen=True)
class Measured:
    """A table as it will be stored, and what its rows are worth.

    Attributes:
        stored_VD: rows in the basis, float32 on the CPU.
        basis_DD: int8 codes of R, or None: one dimension needs no basis.
    """

    table: Table
    stored_VD: Tensor
    basis_DD: Tensor | None
    front: Front


def measure(trace: Trace) -> list[Measured]:
    """Measure the trace's tables.

    Raises:
        ParamsError: a table is not looked up by any event that was read.
    """
    weights = [table.weight_VD.detach().float().cpu() for table in trace.tables]
    first = [_sample(weight_VD, torch.tensor([0, weight_VD.shape[1]])) for weight_VD in weights]
    for lookups in trace.lookups():
        _add(first[lookups.table], lookups, weights[lookups.table], None)
    for table, sample in zip(trace.tables, first, strict=True):
        if not sample.lookups_F.any():
            raise ParamsError(f"no event of the loader looks up the table {table.name!r}: leave it out with tables=[...]")
    bases = [_basis(weight_VD, sample) for weight_VD, sample in zip(weights, first, strict=True)]
    stored = [_stored(weight_VD, basis_DD) for weight_VD, basis_DD in zip(weights, bases, strict=True)]
    second = [_sample(stored_VD, size_levels(stored_VD.shape[1])) for stored_VD in stored]
    for lookups in trace.lookups():
        _add(second[lookups.table], lookups, stored[lookups.table], bases[lookups.table])
    return [
        Measured(table, stored_VD, basis_DD, _front(sample, stored_VD, trace))
        for table, stored_VD, basis_DD, sample in zip(trace.tables, stored, bases, second, strict=True)
    ]


def _sample(table_VD: Tensor, size_L1: Tensor) -> Sample:
    return Sample(torch.zeros(len(table_VD), dtype=torch.int64), 1, size_L1)


def _add(sample: Sample, lookups: Lookups, table_VD: Tensor, basis_DD: Tensor | None) -> None:
    """Add lookups of a table, whose gradients are taken into its basis: e = z R, so d / d z = (d / d e) R'."""
    rows_M, gradient_MD = lookups.rows_M.cpu(), lookups.gradient_MD.cpu()
    if basis_DD is not None:
        gradient_MD = gradient_MD @ (basis_DD.float() / CODES).T
    bag_M = lookups.group_M.cpu()
    looked = Looked(
        rows_M=rows_M,
        vectors_MD=table_VD[rows_M],
        gradient_MD=gradient_MD,
        curvature_M=torch.ones(len(rows_M)),  # already in the gradient
        bag_M=bag_M,
        bags=int(bag_M.max()) + 1 if len(bag_M) else 0,
    )
    sample.add(looked, 0)


def _basis(weight_VD: Tensor, sample: Sample) -> Tensor | None:
    """Codes of R, int8 [D, D]: the transposed balanced basis."""
    if weight_VD.shape[1] == 1:
        return None
    (basis_DD,) = balanced_basis(weight_VD, sample.seen_V, sample.field_V, sample.curvature_FDD)
    return (basis_DD.T * CODES).round().to(torch.int8).contiguous()


def _stored(weight_VD: Tensor, basis_DD: Tensor | None) -> Tensor:
    """Rows z = e R^-1, by the inverse of the rounded R."""
    if basis_DD is None:
        return weight_VD.clone()
    inverse_DD = torch.linalg.inv(basis_DD.double() / CODES)
    return torch.cat([(chunk.double() @ inverse_DD).float() for chunk in weight_VD.split(2**18)])


def _front(sample: Sample, stored_VD: Tensor, trace: Trace) -> Front:
    events = trace.events * trace.outputs
    lookups_V = sample.seen_V.clamp(min=UNSEEN) / events
    return Front(
        size_L1=sample.size_L1,
        costs_VL1=row_costs(sample, stored_VD, lookups_V) * trace.outputs,
        noise_FD=sample.noise_FD * trace.outputs,
        lookups_V=lookups_V,
        field_V=sample.field_V,
        events=events,
    )
