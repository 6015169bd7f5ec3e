import pytest
import torch
from torch import nn
from torch_models import batches, events, predicted, two_tables

import amtl
from amtl.errors import ArtifactError
from amtl.files import read_tensors


@pytest.fixture
def saved(tmp_path):
    model = two_tables()
    packed, report = amtl.compress_model(model, batches(), "20%", precision="int8", tables=["user", "weight", "tags"])
    amtl.save_packed(packed, tmp_path / "model.safetensors")
    return packed, report, tmp_path / "model.safetensors"


def test_a_packed_model_is_read_back_into_its_class(saved):
    packed, _, path = saved
    fresh = two_tables().eval()
    loaded = amtl.load_packed(fresh, path)
    assert isinstance(fresh.user, nn.Embedding)
    assert not loaded.training
    assert torch.equal(predicted(loaded), predicted(packed))


def test_the_file_holds_no_full_table(saved):
    _, report, path = saved
    written = sum(tensor.nbytes for tensor in read_tensors(path).values())
    rest = sum(weight.nbytes for name, weight in two_tables().state_dict().items() if name.split(".")[0] in ("item", "net"))
    assert written == report.bytes + rest


class Shared(nn.Module):
    """One weight under a module, under another one, and under a second name of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.named, self.other = nn.Embedding(400, 8), nn.EmbeddingBag(400, 8, mode="sum")
        self.other.weight = self.named.weight
        self.again = self.named

    def forward(self, ids_B):
        return self.again(ids_B).sum(1) + self.other(ids_B.unsqueeze(1)).sum(1)


@pytest.mark.parametrize("budget", ["30%", "15%"])  # whole, and cut
def test_what_is_shared_is_written_once_and_shared_again(tmp_path, budget):
    users = events()[0]
    packed, report = amtl.compress_model(Shared(), [users], budget, precision="int8")
    amtl.save_packed(packed, tmp_path / "shared")
    assert sum(tensor.nbytes for tensor in read_tensors(tmp_path / "shared").values()) == report.bytes
    loaded = amtl.load_packed(Shared(), tmp_path / "shared")
    assert loaded.again is loaded.named
    assert loaded.named.table is loaded.other.table
    assert torch.equal(loaded(users), packed(users))


@pytest.mark.parametrize("change", ["rows", "width", "net", "not packed", "damaged", "missing"])
def test_a_file_of_another_model_is_refused(saved, change):
    _, _, path = saved
    model = two_tables()
    if change == "rows":
        model.user = nn.Embedding(401, 12)
    elif change == "width":
        model.user = nn.Embedding(400, 10)
    elif change == "net":
        model.net = nn.Sequential(nn.Linear(23, 4), nn.Linear(4, 1))
    elif change == "not packed":
        model.user = nn.Linear(3, 3)
    elif change == "damaged":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        amtl.load_packed(model, path)
