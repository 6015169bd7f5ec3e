"""What the README says exists and runs; the commands that need a workspace are run by tests/pipeline."""

import re
from pathlib import Path

import pytest
import torch
import typer.main
from torch_models import import_deepctr

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_five_lines_of_layer_code_run():
    (code,) = [body for language, body in BLOCKS if language == "python" and "AdaptivelyMaskedTwins" in body]
    names: dict = {}
    exec(code, names)
    assert names["masked"].shape == (3, 16)
    assert names["sizes"].tolist() == [16] * 6


def test_a_published_model_is_packed(capsys):
    (code,) = [body for language, body in BLOCKS if language == "python" and "compress_model" in body]
    import_deepctr()
    names: dict = {}
    exec(code, names)
    assert names["report"].bytes <= 0.1 * names["report"].dense_bytes
    with torch.no_grad():
        error = names["packed"](names["ids"].float()) - names["model"](names["ids"].float())
    assert error.abs().mean() < 0.05
    assert "embedding_dict.user" in capsys.readouterr().out


def test_every_amtl_command_is_a_command():
    from amtl.cli import app

    commands = set(typer.main.get_command(app).commands)
    lines = [line for _, body in BLOCKS for line in body.splitlines()]
    named = {found for line in lines for found in re.findall(r"(?:^|&& )amtl ([a-z-]+)", line)}
    assert named
    assert named <= commands


def test_every_make_target_is_a_target():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) <= targets


PAGES = [
    "README.md",
    *(f"docs/{name}.md" for name in ("architecture", "benchmarks", "results", "ingest", "validation", "counting", "schema")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
