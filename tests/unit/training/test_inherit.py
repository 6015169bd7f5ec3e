"""What a backbone takes over from a parent's: against loops over the meaning of each column, and as functions of the same inputs."""

from functools import partial

import pytest
import torch
from torch import nn

from amtl.model.backbones import BACKBONES, Shape, build_backbone
from amtl.training.inherit import Labels, inherit

D, B = 3, 7
HIDDEN = (6, 5)
PARENT = Labels(["user", "item", "tags"], ["age", "price"])
CHANGES = {
    "same": PARENT,
    "reordered": Labels(["tags", "user", "item"], ["price", "age"]),
    "field added": Labels(["user", "new", "item", "tags"], ["age", "price"]),
    "number added": Labels(["user", "item", "tags"], ["new", "age", "price"]),
    "field removed": Labels(["user", "tags"], ["age", "price"]),
    "number removed": Labels(["user", "item", "tags"], ["price"]),
    "numbers gone": Labels(["user", "item", "tags"], []),
    "numbers replaced": Labels(["user", "item", "tags"], ["new"]),
    "all at once": Labels(["new", "tags", "item"], ["price", "newer"]),
    "one field left": Labels(["item"], []),
    "nothing shared": Labels(["new"], ["newer"]),
}
assert_equal = partial(torch.testing.assert_close, rtol=0, atol=0)
pytestmark = pytest.mark.parametrize("kind", BACKBONES)


def backbone(kind, labels, seed=0, **changes):
    torch.manual_seed(seed)
    shape = {"dim": D, "hidden": HIDDEN, "dropout": 0.0, "batch_norm": False, "cross_layers": 3} | changes
    return build_backbone(kind, Shape(fields=len(labels.fields), numbers=len(labels.numbers), **shape))


def inputs_by_name():
    """A vector or number for every name there is: the same for every model."""
    torch.manual_seed(3)
    vectors = {name: torch.randn(B, D) for name in ("user", "item", "tags", "new")}
    numbers = {name: torch.randn(B) for name in ("age", "price", "new", "newer")}
    return vectors, numbers


def logits(model, labels, absent=()):
    """Logits of the named inputs in the model's order; those of `absent` names are zero."""
    vectors, numbers = inputs_by_name()
    vectors_BFD = torch.stack([vectors[name] * (name not in absent) for name in labels.fields], dim=1)
    numbers_KB = [numbers[name] * (name not in absent) for name in labels.numbers]
    return model(vectors_BFD, torch.stack(numbers_KB, dim=1) if numbers_KB else torch.zeros(B, 0))


@torch.no_grad()
def child_of(parent, kind, labels, **changes):
    """A backbone with other weights that inherited what it can, and what that was."""
    child = backbone(kind, labels, seed=1, **changes)
    found = inherit(child, labels, parent, PARENT)
    ours, theirs = child.state_dict(), parent.state_dict()
    for name in found.names:
        ours[name].copy_(found.taken(name, ours[name], theirs[name]))
    return child, found


def meaning(kind, part, place, labels):
    """What the input column of a part stands for, found by counting."""
    sources = list(labels.fields)
    if part == "bottom":
        return ("number", labels.numbers[place])
    if part == "pairs":
        return ("scale", sources[place])
    if kind == "dlrm" and labels.numbers:
        sources = ["BOTTOM", *sources]
    if place < len(sources) * D:
        return ("vector", sources[place // D], place % D)
    place -= len(sources) * D
    if kind != "dlrm":
        return ("number", labels.numbers[place])
    for first in range(len(sources)):
        for second in range(first + 1, len(sources)):
            if place == 0:
                return ("dot", *sorted([sources[first], sources[second]]))
            place -= 1
    raise AssertionError("no such column")


PARTS = {"mlp": ["layers"], "dlrm": ["bottom", "top"], "deepfm": ["first", "pairs", "layers"], "dcnv2": ["cross", "head", "layers"]}
LABELLED = {
    "pairs": {"scale_F": 1},
    "cross": {f"{layer}.{name}": axes for layer in range(3) for name, axes in (("weight", 2), ("bias", 1))},
}
"""Tensors whose first axes run over the part's columns, and over how many; in perceptrons it is the second of the first weight."""


@pytest.mark.parametrize("change", [change for change in CHANGES if change != "nothing shared"])
def test_each_column_is_the_parent_s_of_the_same_meaning_or_zero(kind, change):
    labels, parent = CHANGES[change], backbone(kind, PARENT)
    child, _ = child_of(parent, kind, labels)
    bottom_is_fresh = change == "numbers replaced"
    for part in PARTS[kind]:
        if part == "bottom" and (child.bottom is None or bottom_is_fresh):
            continue
        theirs = getattr(parent, part).state_dict()
        for name, ours in getattr(child, part).state_dict().items():
            labelled = LABELLED.get(part, {"0.weight": 0}).get(name)
            if labelled is None:
                assert torch.equal(ours, theirs[name]), name
                continue
            own, other = (ours.T, theirs[name].T) if labelled == 0 else (ours, theirs[name])
            parents = {meaning(kind, part, place, PARENT): place for place in range(len(other))}
            known = [parents.get(what) for what in (meaning(kind, part, place, labels) for place in range(len(own)))]
            if bottom_is_fresh and kind == "dlrm":
                known = [None if "BOTTOM" in meaning(kind, part, place, labels) else at for place, at in enumerate(known)]
            for row, their_row in zip(own, known, strict=True):
                if their_row is None:
                    assert not row.any()
                elif labelled == 2:
                    expected = [0.0 if at is None else float(other[their_row, at]) for at in known]
                    assert row.tolist() == expected
                else:
                    assert torch.equal(row, other[their_row])


@pytest.mark.parametrize("change", ["same", "reordered", "field added"])
def test_the_child_computes_what_the_parent_did(kind, change):
    parent = backbone(kind, PARENT)
    child, found = child_of(parent, kind, CHANGES[change])
    torch.testing.assert_close(logits(child, CHANGES[change]), logits(parent, PARENT))
    assert found.complete == (change != "field added")


def test_a_number_added_changes_nothing_at_the_start(kind):
    parent = backbone(kind, PARENT)
    child, _ = child_of(parent, kind, CHANGES["number added"])
    torch.testing.assert_close(logits(child, CHANGES["number added"]), logits(parent, PARENT))


def test_the_first_numbers_change_nothing_at_the_start(kind):
    """With them the dlrm gets a perceptron of numbers that the parent did not have; its vector is a new input."""
    bare = Labels(PARENT.fields, [])
    parent, child = backbone(kind, bare), backbone(kind, PARENT, seed=1)
    found = inherit(child, PARENT, parent, bare)
    with torch.no_grad():
        for name in found.names:
            child.state_dict()[name].copy_(found.taken(name, child.state_dict()[name], parent.state_dict()[name]))
    torch.testing.assert_close(logits(child, PARENT), logits(parent, bare))


def test_without_a_field_the_child_computes_what_the_parent_did_of_a_zero_vector(kind):
    parent = backbone(kind, PARENT)
    child, _ = child_of(parent, kind, CHANGES["field removed"])
    torch.testing.assert_close(logits(child, CHANGES["field removed"]), logits(parent, PARENT, absent={"item"}))


@pytest.mark.parametrize("change", CHANGES)
def test_the_counts_add_up(kind, change):
    parent = backbone(kind, PARENT)
    child, found = child_of(parent, kind, CHANGES[change])
    ours, theirs = (
        sum(layers.scale_F.numel() if part == "pairs" else layers[0].in_features for part, layers in model.named_children())
        for model in (child, parent)
    )
    assert found.inputs["carried"] + found.inputs["new"] == ours
    assert found.inputs["carried"] + found.inputs["dropped"] == theirs
    assert found.layers.total() == sum(isinstance(layer, nn.Linear) for layer in child.modules())
    assert (found.names == []) == (change == "nothing shared")


@pytest.mark.parametrize(
    ("changes", "carried", "new"),
    [
        ({"hidden": (6, 4)}, 1, 2),
        ({"hidden": (6,)}, 1, 1),
        ({"hidden": (6, 5, 5)}, 2, 2),
        ({"hidden": (7, 5)}, 0, 3),
        ({"batch_norm": True}, 1, 2),
    ],
    ids=str,
)
def test_layers_of_the_perceptron_are_carried_up_to_the_first_that_differs(kind, changes, carried, new):
    labels = Labels(PARENT.fields, [])  # the dlrm's perceptron of numbers has layers of its own
    carried += {"deepfm": 1, "dcnv2": 4}.get(kind, 0)  # what stands beside the perceptron is all carried
    parent, child = backbone(kind, labels), backbone(kind, labels, seed=1, **changes)
    found = inherit(child, labels, parent, labels)
    assert (found.layers["carried"], found.layers["new"]) == (carried, new)


def test_what_is_new_learns_from_the_first_step_on(kind):
    child, _ = child_of(backbone(kind, PARENT), kind, CHANGES["field added"])
    optimizer = torch.optim.SGD(child.parameters(), 0.1)
    for step in range(2):
        vectors, numbers = inputs_by_name()
        vectors_BFD = torch.stack([vectors[name] for name in CHANGES["field added"].fields], dim=1).requires_grad_()
        optimizer.zero_grad()
        child(vectors_BFD, torch.stack([numbers["age"], numbers["price"]], dim=1)).sum().backward()
        assert bool(vectors_BFD.grad[:, 1].any()) == (step > 0)  # the new vector counts as soon as its columns are not zero
        first = child.top[0] if kind == "dlrm" else child.layers[0]
        assert first.weight.grad[:, D : 2 * D].any()
        assert kind != "deepfm" or child.pairs.scale_F.grad[1]
        optimizer.step()


@pytest.mark.parametrize("cross_layers", [2, 4])
def test_what_reads_a_cross_network_of_another_depth_starts_fresh(kind, cross_layers):
    parent = backbone(kind, PARENT)
    child, found = child_of(parent, kind, PARENT, cross_layers=cross_layers)
    if kind != "dcnv2":
        assert found.complete
        return
    assert not found.complete
    for own, other in zip(list(child.cross)[:2], list(parent.cross)[:2], strict=True):
        assert_equal(own.state_dict(), other.state_dict())
    assert not [name for name in found.names if name.startswith("head.")]
    assert_equal(child.layers.state_dict(), parent.layers.state_dict())
