"""A basis per field after which the first dimensions carry the most, so that cutting tails costs the least.

For field f with rows e (count-weighted second moment C_f) and logit gradients J = d logit / d e on training events
(G_f = E[p (1 - p) J J^T], the curvature of the cross-entropy), the balanced basis is found as in balanced truncation: with
C_f = L L^T, the eigenvectors U of L^T G_f L by falling eigenvalue, and the QR of L U. Its orthonormal Q makes every prefix of
dimensions span the directions that matter most to the loss on this data. Rows are stored as z with e = z R, R = Q^T.

A backbone that begins with a linear layer absorbs R. Otherwise R is stored with the table, as int8 codes of reflectors
(`amtl.sizing.reflectors`), and the rounded R, which is orthonormal too, is the one that rows are stored in: exact at full size.
A field of n < D rows has rank n: its rows are zero from dimension n on where R is absorbed. Where it is rounded, its first n
rows span the field's only nearly, and dimensions beyond n hold the rest, a few hundredths of a row: cutting them costs next to nothing.

Shapes: V rows, F fields, D dimensions, R rank of a field's rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from amtl.model.ctr_model import CTRModel
from amtl.sizing.costs import field_chunks
from amtl.sizing.reflectors import storable

FAINT = 1e-3
"""Occurrences that every row has beside its own in the second moment: rows without history belong to the field too."""


def balanced_basis(table_VD: Tensor, shown_V: Tensor, field_V: Tensor, curvature_FDD: Tensor) -> Tensor:
    """Q_f of every field, orthonormal columns, float64 [F, D, D].

    Args:
        table_VD: rows as the backbone reads them, on the CPU.
        shown_V: how often each row is looked up.
        curvature_FDD: G_f.
    """
    moment_FDD = torch.zeros_like(curvature_FDD)
    for field, chunk in field_chunks(field_V):
        rows_ND = table_VD[chunk].double()
        moment_FDD[field] += (rows_ND * (shown_V[chunk].double() + FAINT).unsqueeze(1)).T @ rows_ND
    rows_F = torch.bincount(field_V, minlength=len(curvature_FDD)).tolist()
    balanced = [
        _balanced(moment_DD, curvature_DD, min(rows, len(moment_DD)))
        for moment_DD, curvature_DD, rows in zip(moment_FDD, curvature_FDD, rows_F, strict=True)
    ]
    return torch.stack(balanced)


def _balanced(moment_DD: Tensor, curvature_DD: Tensor, rank: int) -> Tensor:
    """Q of one field whose rows span at most `rank` directions; these come first."""
    values_D, vectors_DD = torch.linalg.eigh(moment_DD)
    spanning_DR = vectors_DD[:, -rank:] * values_D[-rank:].clamp(min=1e-30).sqrt()
    _, order_RR = torch.linalg.eigh(spanning_DR.T @ curvature_DD @ spanning_DR)
    leading_DR = spanning_DR @ order_RR.flip(1)
    rest_DX = vectors_DD[:, :-rank]
    orthonormal_DD, _ = torch.linalg.qr(torch.cat([leading_DR / leading_DR.norm(dim=0).clamp(min=1e-30), rest_DX], dim=1))
    return orthonormal_DD


@torch.no_grad()
def rotate(model: CTRModel, basis_FDD: Tensor, field_V: Tensor) -> Tensor:
    """Store the table in the basis: predictions stay equal up to rounding. The backbone absorbs the way back if it can.

    Returns:
        R of every field, float64 [F, D, D]: rows were read as e and are now read as z R.
    """
    read_FDD = basis_FDD.transpose(1, 2).contiguous()
    absorbed = model.backbone.absorb(read_FDD.float())
    if not absorbed:
        read_FDD = storable(read_FDD)
        model.embedder.register_buffer("basis_FDD", read_FDD.float())
    table_VD, inverse_FDD = model.embedding.weight, read_FDD.transpose(1, 2)
    rows_F = torch.bincount(field_V, minlength=len(basis_FDD)).tolist()
    for field, chunk in field_chunks(field_V):
        stored_ND = table_VD[chunk].double() @ inverse_FDD[field]
        if absorbed:
            stored_ND[:, rows_F[field] :] = 0  # and not 1e-7
        table_VD[chunk] = stored_ND.to(table_VD.dtype)
    return read_FDD


@torch.no_grad()
def undo_rotation(model: CTRModel, field_V: Tensor) -> None:
    """Store the table as the backbone reads it: z R in place of z, and no basis beside it. Nothing to do where it was absorbed."""
    basis_FDD, table_VD = model.embedder.basis_FDD, model.embedding.weight
    if basis_FDD is None:
        return
    for field, chunk in field_chunks(field_V):
        table_VD[chunk] = (table_VD[chunk].double() @ basis_FDD[field].double()).to(table_VD.dtype)
    model.embedder.register_buffer("basis_FDD", None)
