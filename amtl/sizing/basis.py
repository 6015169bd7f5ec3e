"""A basis per field after which the first dimensions carry the most, so that cutting tails costs the least.

For field f with rows e (count-weighted second moment C_f) and logit gradients J = d logit / d e on training events
(G_f = E[p (1 - p) J J^T], the curvature of the cross-entropy), the balanced basis is found as in balanced truncation: with
C_f = L L^T, the eigenvectors U of L^T G_f L by falling eigenvalue, and the QR of L U. Its orthonormal Q makes every prefix of
dimensions span the directions that matter most to the loss on this data. Rows are stored as z with e = z R, R = Q^T.

A backbone that begins with a linear layer absorbs R. Otherwise R is stored with the table, in int8 (entries of an
orthonormal matrix lie in [-1, 1]: codes / 127), and z = e R^-1 uses the inverse of the rounded R: exact at full size.
A field of n < D rows has rank n: its rows are zero from dimension n on (exactly so where R is absorbed; where it is
rounded, what is left beyond n, below a hundredth of a row, is dropped).

Shapes: V rows, F fields, D dimensions, B events.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from amtl.data.dataset import Rows
from amtl.model.ctr_model import CTRModel

CODES = 127


def curvature_FDD(model: CTRModel, data: Rows, device: torch.device, rows: int, seed: int) -> Tensor:
    """G_f = mean over up to `rows` random events of p (1 - p) J J^T, float64 [F, D, D] on the CPU."""
    model.to(device).eval()
    total_FDD = torch.zeros(model.config.fields, model.config.dim, model.config.dim, dtype=torch.float64)
    seen = 0
    for batch in data.shuffled(4096, seed, 0):
        batch = batch.to(device)
        vectors_BFD = model.embedder(batch).detach().requires_grad_()
        logits_B = model.backbone(vectors_BFD, batch.numbers_BK)
        (gradient_BFD,) = torch.autograd.grad(logits_B.sum(), vectors_BFD)
        p_B = torch.sigmoid(logits_B.detach())
        weighted_BFD = gradient_BFD * (p_B * (1 - p_B)).sqrt()[:, None, None]
        total_FDD += torch.einsum("bfd,bfe->fde", weighted_BFD, weighted_BFD).double().cpu()
        seen += len(batch)
        if seen >= rows:
            break
    model.cpu()
    return total_FDD / max(seen, 1)


def balanced_basis(table_VD: Tensor, weight_V: np.ndarray, field_V: np.ndarray, curvature_FDD: Tensor) -> Tensor:
    """Q_f of every field, orthonormal columns, float64 [F, D, D].

    Args:
        table_VD: rows as the backbone reads them.
        weight_V: how often each row is looked up.
        curvature_FDD: G_f.
    """
    rows_VD = table_VD.double().cpu()
    basis_FDD = torch.empty_like(curvature_FDD)
    for field in range(len(curvature_FDD)):
        members = torch.from_numpy(np.flatnonzero(field_V == field))
        weight = torch.from_numpy(weight_V[field_V == field].astype(np.float64)) + 1e-3  # rows without history belong to the field too
        moment_DD = torch.einsum("v,vd,ve->de", weight / weight.sum(), rows_VD[members], rows_VD[members])
        basis_FDD[field] = _balanced(moment_DD, curvature_FDD[field], min(len(members), len(moment_DD)))
    return basis_FDD


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
def rotate(model: CTRModel, basis_FDD: Tensor, field_V: np.ndarray) -> Tensor:
    """Store the table in the basis: predictions stay equal up to rounding. The backbone absorbs the way back if it can.

    Returns:
        R of every field, float64 [F, D, D]: rows were read as e and are now read as z R.
    """
    read_FDD = basis_FDD.transpose(1, 2).contiguous()
    absorbed = model.backbone.absorb(read_FDD.float())
    if not absorbed:
        read_FDD = (read_FDD * CODES).round() / CODES
        model.embedder.register_buffer("basis_FDD", read_FDD.float())
    table_VD = model.embedding.weight
    for field, inverse_DD in enumerate(torch.linalg.inv(read_FDD)):
        members = torch.from_numpy(np.flatnonzero(field_V == field))
        stored = table_VD[members].double() @ inverse_DD
        stored[:, len(members) :] = 0
        table_VD[members] = stored.to(table_VD.dtype)
    return read_FDD


def tail_energies(table_VD: Tensor, curvature_FDD: Tensor, read_FDD: Tensor, field_V: np.ndarray) -> Tensor:
    """What one lookup of each row would lose, about, if the row were cut to t dimensions: z' G z / 2 over its tail.

    Args:
        table_VD: stored (rotated) rows. curvature_FDD: G_f of the rows as read. read_FDD: R_f.

    Returns:
        float32 [V, E] for t = 0, D / 8, D / 4, D / 2.
    """
    dim = table_VD.shape[1]
    stored_FDD = read_FDD @ curvature_FDD @ read_FDD.transpose(1, 2)
    cuts = sorted({0, dim // 8, dim // 4, dim // 2})
    energies_VE = torch.zeros(len(table_VD), len(cuts))
    for field, curvature_DD in enumerate(stored_FDD.float()):
        members = torch.from_numpy(np.flatnonzero(field_V == field))
        for column, cut in enumerate(cuts):
            tail = table_VD[members, cut:]
            energies_VE[members, column] = 0.5 * ((tail @ curvature_DD[cut:, cut:]) * tail).sum(1).clamp(min=0)
    return energies_VE
