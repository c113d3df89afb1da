"""What is known of one published model file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Figures = dict[str, float | str]


@dataclass(frozen=True)
class ModelFile:
    """One published file. Digests, licences and figures are what the named sources state; none is guessed."""

    name: str
    kind: Literal["detector", "recognizer"]
    file: str
    """Name under which it is kept and looked for."""
    sha256: str | None
    """Of the file itself (of the member, for an archive), hexadecimal. None where no public digest was found: then the
    digest of the first download is noted beside the file and holds from then on."""
    url: str
    licence: str
    """Of the weights, in words, and where that is stated."""
    about: str
    commercial: bool | None = field(kw_only=True)
    """Whether the licence allows commercial use; None where its source does not settle it."""
    package: tuple[str, str] | None = None
    """(importable package, path inside it) of an installed package that carries the file."""
    preprocessing: dict[str, Any] | None = None
    """The fields of `Contract` that the file itself cannot tell."""
    architecture: str | None = None
    """Name of the network among `models.list_models`, where vultus can train on from these weights."""
    canonical: str | None = None
    """`canonical_digest` of the sanitised network: other files with the same weights are the same recogniser."""
    archive_member: str | None = None
    """Name of the file inside the zip archive at `url`."""
    size: int | None = None
    """Bytes of the file, where known."""
    fetched: bool = False
    """Whether we ever obtained this very file from `url` or `package`. False: the address is as published, untried."""
    published: Figures = field(default_factory=dict)
    """Figures of the authors; `by` says where they stand. Percentages."""
    measured: Figures = field(default_factory=dict)
    """Our own figures; `by` says on what. Percentages."""

    @property
    def runnable(self) -> bool:
        """Whether the file is a network that runs as it is; otherwise it holds weights only."""
        return self.file.endswith(".onnx")
