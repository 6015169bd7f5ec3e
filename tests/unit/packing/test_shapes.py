"""From training to prediction for odd shapes of events: one field, lists alone, numbers alone beside one field, unknown values alone."""

from itertools import product

import numpy as np
import pytest
import torch
from toy import FIELDS, frame, settings, silent, vocabulary_of

import amtl
from amtl.data.batches import Scaling, encode
from amtl.data.vocabulary import Vocabulary
from amtl.packing.compress import compress, contents
from amtl.sizing.sizes import Found, find_sizes
from amtl.training.control import make_control
from amtl.training.loop import predict
from amtl.training.state import read_state
from amtl.training.train import train
from amtl.training.tuning import tuning_for

USER, ITEM, TAGS, AGE = FIELDS
SHAPES = {
    "one field": [USER],
    "a list alone": [TAGS],
    "two lists": [TAGS, {**TAGS, "name": "more"}],
    "a number beside": [ITEM, AGE],
    "all": FIELDS,
}
CASES = [
    *product([*SHAPES, "no value known"], [("mlp", "auto"), ("mlp", "paper"), ("dlrm", "auto")]),
    *product(["one field", "all"], [("deepfm", "auto"), ("dcnv2", "auto"), ("dlrm", "paper")]),
]


@pytest.mark.parametrize(("shape", "backbone", "sizes"), [(shape, *model) for shape, model in CASES])
def test_a_bundle_predicts_what_was_trained(tmp_path, shape, backbone, sizes):
    chosen = settings(
        events={"fields": SHAPES.get(shape, FIELDS)},
        train={"backbone": backbone, "dim": 10, "epochs": 1, "hidden": []},
        search={"sizes": sizes, "steps": 5},
        compress={"budget": 2000, "precision": "int8", "finetune": {"epochs": 1, "patience": 1, "learning_rate": 1e-3}},
    )
    raw = [rows.with_columns(rows["tags"].alias("more")) for rows in (frame(129), frame(65, seed=1))]
    vocabulary = vocabulary_of(chosen.events, raw[0]) if shape in SHAPES else Vocabulary.empty(chosen.events)
    scaling = Scaling({"age": 40.0}, {"age": 10.0})
    batches = [encode(rows, chosen.events, vocabulary.lookup, scaling) for rows in raw]
    train(chosen, vocabulary, *batches, None, None, silent).write(tmp_path / "state")
    state = read_state(tmp_path / "state")
    tuning = tuning_for(chosen, vocabulary, *batches, silent)
    control = make_control(state.model(), tuning)
    find_sizes(chosen, vocabulary, control.model, *batches, None, silent).write(tmp_path / "search")
    found = Found.read(tmp_path / "search", state.config)
    result = compress(chosen, found, control.measured, vocabulary, tuning)
    result.write(tmp_path, contents(chosen, result, vocabulary, scaling, {}))
    found_p, expected = amtl.load(tmp_path / "bundle").predict(raw[1]), predict(result.model, batches[1], torch.device("cpu"))
    assert found_p == pytest.approx(expected, abs=0.02)
    assert np.isfinite(found_p).all()
