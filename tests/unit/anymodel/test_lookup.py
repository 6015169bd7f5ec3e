import pytest
import torch
from torch import nn

from amtl.anymodel.lookup import CODES, RotatedTable, stand_in

ROWS, DIM = 11, 4


def same_rows(reader):
    """A stand-in that reads the module's own rows, stored in a rotated basis."""
    torch.manual_seed(0)
    basis_DD = (torch.linalg.qr(torch.randn(DIM, DIM))[0] * CODES).round().to(torch.int8)
    stored_VD = reader.weight.detach() @ torch.linalg.inv(basis_DD.float() / CODES)
    return stand_in(RotatedTable(nn.Embedding.from_pretrained(stored_VD), basis_DD, DIM, torch.float32), reader)


@pytest.mark.parametrize("shape", [(), (5,), (3, 2), (0,), (2, 0)])
def test_a_lookup_answers_as_nn_embedding(shape):
    reader = nn.Embedding(ROWS, DIM, padding_idx=0)
    ids = torch.randint(ROWS, shape, dtype=torch.int32)
    torch.testing.assert_close(same_rows(reader)(ids), reader(ids))
    torch.testing.assert_close(same_rows(reader)(input=ids), reader(ids))


BAGS = [
    {"ids": [[1, 2, 2], [3, 0, 0]]},
    {"ids": [1, 2, 2, 3, 0, 10], "offsets": [0, 3, 3]},
    {"ids": [1, 2, 2, 3, 0, 10], "offsets": [0, 3, 6], "include_last_offset": True},
    {"ids": [[1, 2, 2], [0, 0, 0]], "padding_idx": 0},
    {"ids": [10, 1, 10, 3], "offsets": [0, 2], "padding_idx": -1},
    {"ids": [], "offsets": [0, 0]},
]


def of_case(case, mode):
    options = {name: case[name] for name in ("padding_idx", "include_last_offset") if name in case}
    reader = nn.EmbeddingBag(ROWS, DIM, mode=mode, **options)
    offsets = None if "offsets" not in case else torch.tensor(case["offsets"])
    return reader, torch.tensor(case["ids"], dtype=torch.int64), offsets


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("case", BAGS)
def test_a_bag_answers_as_nn_embedding_bag(case, mode):
    reader, ids, offsets = of_case(case, mode)
    torch.testing.assert_close(same_rows(reader)(ids, offsets), reader(ids, offsets))


@pytest.mark.parametrize("case", BAGS)
def test_a_bag_weighs_samples(case):
    reader, ids, offsets = of_case(case, "sum")
    weights = torch.rand(ids.shape)
    expected = reader(ids, offsets, per_sample_weights=weights)
    torch.testing.assert_close(same_rows(reader)(ids, offsets, per_sample_weights=weights), expected)


@pytest.mark.parametrize("wrong", [-1, ROWS])
def test_an_id_beyond_the_table_is_refused(wrong):
    with pytest.raises(IndexError, match="in a table of 11 rows"):
        same_rows(nn.Embedding(ROWS, DIM))(torch.tensor([0, wrong]))


def test_a_stand_in_says_what_it_stands_for():
    bag = stand_in(RotatedTable(nn.Identity(), None, DIM, torch.float32), nn.EmbeddingBag(ROWS, DIM, mode="sum", padding_idx=2).eval())
    assert (bag.num_embeddings, bag.embedding_dim, bag.padding_idx, bag.mode, bag.training) == (ROWS, DIM, 2, "sum", False)
