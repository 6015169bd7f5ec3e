"""A user's model on CUDA: packed there as on the CPU, and read there."""

import pytest
import torch
from torch_models import batches, events, predicted, two_tables

import amtl

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_a_model_is_packed_where_it_lies():
    packed, report = amtl.compress_model(two_tables().to("cuda"), batches(), "20%", precision="int8")
    assert {tensor.device.type for tensor in packed.state_dict().values()} == {"cuda"}
    assert report.bytes <= report.budget_bytes
    with torch.no_grad():
        on_cuda = packed.eval()(*(column.to("cuda") for column in events()[:3]))
    torch.testing.assert_close(on_cuda.cpu(), predicted(packed.to("cpu")), rtol=1e-3, atol=1e-3)
