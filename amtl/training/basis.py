"""A rotation per field after which the first dimensions carry the most, so that cutting tails costs the least.

For field f with rows z (count-weighted second moment C_f) and logit gradients J = d logit / d e on training events
(G_f = E[p (1 - p) J J^T], the curvature of the cross-entropy), the balanced basis is found as in balanced truncation:
L = chol(C_f), eigenvectors U of L^T G_f L by falling eigenvalue, and the QR of L U: its orthonormal Q makes every prefix of
dimensions span the directions that matter most to the loss on this data. Rows are stored as z = e Q and read as e = z Q^T.

Shapes: V rows, F fields, D dimensions, B events.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from amtl.data.batches import Batch
from amtl.model.ctr_model import CTRModel


def curvature_FDD(model: CTRModel, data: Batch, device: torch.device, rows: int, seed: int) -> Tensor:
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
    return total_FDD / max(seen, 1)


def balanced_basis(table_VD: Tensor, counts_V: np.ndarray, field_V: np.ndarray, curvature_FDD: Tensor) -> Tensor:
    """Q_f of every field, orthonormal columns, float32 [F, D, D]; rotated rows are z = e Q_f."""
    fields, dim = curvature_FDD.shape[:2]
    basis_FDD = torch.empty(fields, dim, dim)
    rows_VD, weight_V = table_VD.double().cpu(), torch.from_numpy(counts_V.astype(np.float64))
    for field in range(fields):
        members = torch.from_numpy(np.flatnonzero(field_V == field))
        weight = weight_V[members] + 1e-3  # rows without history still belong to the field
        moment_DD = torch.einsum("v,vd,ve->de", weight / weight.sum(), rows_VD[members], rows_VD[members])
        basis_FDD[field] = _balanced(moment_DD, curvature_FDD[field]).float()
    return basis_FDD


def _balanced(moment_DD: Tensor, curvature_DD: Tensor) -> Tensor:
    dim = len(moment_DD)
    floor_DD = torch.eye(dim, dtype=torch.float64)
    lower_DD = torch.linalg.cholesky(moment_DD + floor_DD * (1e-9 * moment_DD.trace() / dim + 1e-30))
    seen_DD = curvature_DD + floor_DD * (1e-9 * curvature_DD.trace() / dim + 1e-30)
    _, vectors_DD = torch.linalg.eigh(lower_DD.T @ seen_DD @ lower_DD)
    orthonormal_DD, _ = torch.linalg.qr(lower_DD @ vectors_DD.flip(1))
    return orthonormal_DD


@torch.no_grad()
def rotate(model: CTRModel, basis_FDD: Tensor, field_V: np.ndarray) -> None:
    """Store the table rotated: predictions stay equal up to rounding. The backbone absorbs the inverse if it can."""
    table_VD = model.embedding.weight
    field = torch.from_numpy(field_V)
    for index, basis_DD in enumerate(basis_FDD.to(table_VD.device)):
        members = (field == index).nonzero().flatten().to(table_VD.device)
        table_VD[members] = table_VD[members] @ basis_DD
    inverse_FDD = basis_FDD.transpose(1, 2).contiguous().to(table_VD.device)
    if not model.backbone.absorb(inverse_FDD):
        model.embedder.register_buffer("basis_FDD", inverse_FDD)


def is_absorbed(model: CTRModel) -> bool:
    """True when the model reads stored vectors without a rotation of its own."""
    return model.embedder.basis_FDD is None
