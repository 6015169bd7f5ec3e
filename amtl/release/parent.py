"""The parent of a retraining: the registry version that `parent.lock` pins, laid down in the workspace and verified.

`parent.lock` pins the parent the way `data.dvc` pins the data, so that no stage has to resolve a name that moves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from amtl import files
from amtl.errors import ArtifactError
from amtl.release import registry

COMMENT = """\
# The parent that a retraining starts from: a registered version and its bundle's digest, or none (a cold start).
# `amtl retrain` pins the champion when data arrive; `amtl parent champion|none|VERSION` pins by hand. Commit it with data.dvc.
"""
HINT = "pin one with `amtl parent champion|none|VERSION`"


class Parent(NamedTuple):
    """A registered version and the digest of its bundle."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True)
class ParentLock:
    """The content of parent.lock.

    Attributes:
        parent: the pinned version; None is a cold start.
        data: MD5 of the data (data.dvc) that the pin was made for; empty if no data were there.
    """

    parent: Parent | None = None
    data: str = ""

    @classmethod
    def read(cls, path: Path) -> ParentLock:
        """Read parent.lock.

        Raises:
            ArtifactError: the file is missing, not YAML, or has other entries than `write` gives it.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(f"{path} does not exist; {HINT}") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ArtifactError(f"{path} cannot be read: {' '.join(str(error).split())}; {HINT}") from None
        if not isinstance(content, dict) or set(content) != {"parent", "data"} or not isinstance(content["data"], str):
            raise ArtifactError(f"{path} must have the two entries parent and data (a text); {HINT}")
        return cls(_parent(content["parent"], path), content["data"])

    def write(self, path: Path) -> None:
        """Create or replace parent.lock."""
        content = {"parent": self.parent._asdict() if self.parent else "none", "data": self.data}
        files.publish_text(path, COMMENT + yaml.safe_dump(content, sort_keys=False))


def fetch(lock: ParentLock, destination: Path) -> dict[str, Any]:
    """Lay down the pinned parent as the folder `destination`, whole or not at all.

    The folder gets `parent.json` ({"parent": "none"}, or name, version and digest) and, with a parent, `state/` and
    `bundle/`, both verified; the bundle must have the pinned digest.

    Returns:
        The content of `parent.json`.

    Raises:
        RegistryError: the version is not in the registry or keeps no state any more.
        ArtifactError: what the registry holds is damaged, or is another bundle than the pinned one.
    """
    content: dict[str, Any] = lock.parent._asdict() if lock.parent else {"parent": "none"}
    with files.publish_folder(destination) as folder:
        if lock.parent:
            _fetch(lock.parent, folder)
        files.publish_json(folder / "parent.json", content)
    return content


def _fetch(parent: Parent, folder: Path) -> None:
    found = registry.get(parent.name, parent.version).digest
    if found != parent.digest:
        what = f"version {parent.version} of {parent.name} has digest {found[:12]}"
        raise ArtifactError(f"{what}, but parent.lock pins {parent.digest[:12]}; {HINT}")
    registry.fetch(parent.name, parent.version, "bundle", folder / "bundle")
    registry.fetch(parent.name, parent.version, "state", folder / "state")


def _parent(entry: Any, path: Path) -> Parent | None:
    if entry == "none":
        return None
    if not isinstance(entry, dict) or set(entry) != set(Parent._fields):
        raise ArtifactError(f"{path}: parent must be none, or have the entries name, version and digest; {HINT}")
    name, version, digest = (entry[key] for key in Parent._fields)
    if not isinstance(name, str) or not name:
        raise ArtifactError(f"{path}: parent.name must be the name of a registered model (got {name!r}); {HINT}")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtifactError(f"{path}: parent.version must be a number from 1 (got {version!r}); {HINT}")
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ArtifactError(f"{path}: parent.digest must be 64 hexadecimal digits (got {digest!r}); {HINT}")
    return Parent(name, version, digest)
