"""Who may import what, what nobody may call, and that importing does nothing."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path.relative_to(ROOT) for room in ("amtl", "flows") for path in (ROOT / room).rglob("*.py"))

ONLY_IN = {
    "prefect": ("flows/",),
    "dvc": ("flows/",),
    "great_expectations": ("amtl/validation/expectations.py",),
    "mlflow": ("amtl/release/registry/", "amtl/release/serving.py"),
    "flows": ("flows/", "amtl/cli.py"),
    "typer": ("amtl/cli.py",),
}
"""Module to the files that may import it."""

NOT_ON_TOP = {
    "torch": ("amtl/model/", "amtl/training/", "amtl/sizing/", "amtl/packing/", "amtl/compare/", "amtl/anymodel/"),
    "safetensors": ("amtl/model/", "amtl/training/", "amtl/sizing/", "amtl/packing/"),
    "mlflow": ("amtl/release/serving.py",),
    "great_expectations": (),
    "matplotlib": (),
    "sklearn": (),
    "scipy": (),
    "dvc": (),
    "networkx": (),
    "httpx": (),
}
"""Slow module to the files that may import it at their own import; others import it where they use it."""

BANNED_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNPICKLING = {"torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
EVALUATING = {"eval", "exec", "compile", "__import__", "os.system"}
WRITES = {"write_text", "write_bytes"}


class Import(NamedTuple):
    module: str
    on_top: bool
    line: int


def _tree(path):
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def _imports(path):
    def visit(node, on_top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, on_top, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                yield from (Import(f"{child.module}.{alias.name}", on_top, child.lineno) for alias in child.names)
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                yield from visit(child, False)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from visit(child, on_top and not inside)

    return list(visit(_tree(path), True))


def _calls(path):
    """(dotted name, node) of every call."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _offences(rules, wanted):
    for path in SOURCES:
        for found in _imports(path):
            allowed = rules.get(found.module.partition(".")[0])
            if allowed is not None and wanted(found) and not str(path).startswith(allowed):
                yield f"{path}:{found.line} imports {found.module}"


def test_sources_are_found():
    assert {"amtl", "flows"} == {path.parts[0] for path in SOURCES}


def test_a_tool_is_imported_only_in_its_room():
    assert list(_offences(ONLY_IN, lambda found: True)) == []


def test_slow_modules_are_imported_where_they_are_used():
    assert list(_offences(NOT_ON_TOP, lambda found: found.on_top)) == []


def test_an_offence_would_be_seen(tmp_path):
    path = tmp_path / "offender.py"
    path.write_text("import torch\nfrom flows import data\nif TYPE_CHECKING:\n    import mlflow\ndef f():\n    import prefect.server\n")
    found = {(entry.module, entry.on_top) for entry in _imports(path)}
    assert found == {("torch", True), ("flows.data", True), ("mlflow", False), ("prefect.server", False)}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_nothing_is_unpickled_or_evaluated(path):
    modules = {found.module.partition(".")[0] for found in _imports(path)}
    assert not modules & BANNED_MODULES
    for name, call in _calls(path):
        assert name not in UNPICKLING | EVALUATING, f"{path}:{call.lineno} calls {name}"
        assert not (name.startswith("mlflow.") and name.endswith("load_model")), f"{path}:{call.lineno} calls {name}"
        assert not any(word.arg == "allow_pickle" for word in call.keywords), f"{path}:{call.lineno} passes allow_pickle"
        assert not any(word.arg == "shell" for word in call.keywords), f"{path}:{call.lineno} passes shell"


def test_files_are_written_through_one_door():
    for path in SOURCES:
        if path == Path("amtl/files.py"):
            continue
        for name, call in _calls(path):
            assert name.rpartition(".")[2] not in WRITES, f"{path}:{call.lineno}: {name} instead of amtl.files"
            if name == "open" or name.endswith(".open"):
                modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
                assert not any(set("wax+") & set(str(mode)) for mode in modes), f"{path}:{call.lineno}: opened to write"


IMPORT_ALL = """
import importlib, os, pkgutil, sys
import polars, prefect, torch  # what they do on import is not ours
before = dict(os.environ)
for room in ("amtl", "flows"):
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        if module.name != "amtl.release.serving":  # MLflow runs it as a script
            importlib.import_module(module.name)
assert dict(os.environ) == before, {k: v for k, v in os.environ.items() if before.get(k) != v}
slow = {"mlflow", "great_expectations", "matplotlib", "sklearn", "scipy", "dvc"} & set(sys.modules)
assert not slow, slow
print(len(os.listdir(".")))
"""


def _python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


def test_importing_makes_no_file_and_sets_nothing(tmp_path):
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    cwd.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = _python(IMPORT_ALL, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n"
    assert list(home.iterdir()) == []


def test_the_command_line_answers_help_without_slow_imports():
    slow = "{'torch', 'mlflow', 'prefect', 'great_expectations', 'dvc', 'polars', 'pandas', 'numpy'}"
    done = _python(f"import sys, amtl.cli; found = {slow} & set(sys.modules); sys.exit(repr(found) if found else 0)")
    assert done.returncode == 0, done.stderr


def test_the_caps_let_the_prefect_server_import(tmp_path):
    """fastapi and sqlalchemy are capped in pyproject.toml; pip does not see when they break prefect."""
    done = _python("import prefect.server.api.server", env={**os.environ, "PREFECT_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
