"""What fine-tuning is asked for by params.yaml."""

from toy import toy, with_settings

from amtl.training.loop import FitSettings
from amtl.training.tuning import tuning_settings

TRAIN = {"batch_size": 32, "learning_rate": 0.1, "seed": 7, "l2": 0.2, "unknown_rate": 0.3, "epochs": 9}
FINETUNE = {"epochs": 3, "patience": 2, "learning_rate": 0.01, "distillation": 0.4, "recombined": 0.6}


def asked(**search):
    return tuning_settings(with_settings(toy(), train=TRAIN, compress={"finetune": FINETUNE}, search=search).settings)


def test_under_a_budget_it_starts_anew_fades_out_and_must_be_better_than_its_start():
    assert asked(sizes="auto") == FitSettings(
        epochs=3,
        patience=2,
        batch_size=32,
        learning_rate=0.01,
        seed=8,
        l2=0.2,
        unknown_rate=0.3,
        keep_start=True,
        distillation=0.4,
        recombined=0.6,
        decay=True,
        calibrate=True,
    )


def test_beside_the_published_layer_it_trains_as_the_layer_does():
    expected = FitSettings(epochs=5, patience=5, batch_size=32, learning_rate=0.1, seed=7, l2=0.2, unknown_rate=0.3, keep_last=True)
    assert asked(sizes="paper", epochs=5) == expected
