"""Measure a recogniser on a template protocol (IJB-B, IJB-C and the like)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.evaluation import Verification
from vultus.evaluation.protocols.listed import verify_list
from vultus.evaluation.protocols.pooling import Pooling, Templates, pool_templates, score_templates
from vultus.evaluation.protocols.templates import TemplateProtocol, find_protocol, read_protocol
from vultus.terminal import track
from vultus.workflows.embedder import BATCH, Embedder
from vultus.workflows.pairs import match_paths

FEWEST = 0.5
"""Share of the protocol's images that the dataset must have; with less it is another dataset, not faces not found."""


@dataclass(frozen=True)
class TemplatesEvaluation:
    """1:1 verification between templates."""

    model: str
    dataset: str
    protocol: str
    pooling: str
    """The mode, such as "N0D1F0": figures of another mode cannot be compared with these."""
    verification: Verification
    """Its `images` counts templates. A mated comparison of a template without a face is a false non-match."""
    images: int
    missing_images: int
    """Images of the protocol in which no face was found (that are not in the dataset)."""
    templates: int
    empty_templates: int
    """Templates none of whose images had a face."""
    lost_mated: int
    """Mated comparisons with such a template: false non-matches."""
    lost_non_mated: int
    """Non-mated comparisons with such a template: counted nowhere, since nobody was rejected."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "verification"}
        return {**self.verification.to_dict(), **plain, "notes": list(self.notes)}


def evaluate_templates(
    embedder: Embedder,
    data: FaceDataset,
    protocol: str | Path | TemplateProtocol,
    pairs: str | Path | None = None,
    scores: str | Path | None = None,
    *,
    pooling: str | None = None,
    raw: Callable[[np.ndarray], np.ndarray] | None = None,
    flips: bool = False,
    notes: tuple[str, ...] = (),
    unsupported: bool = False,
) -> TemplatesEvaluation:
    """TAR at FAR between the templates of a protocol whose images are sources of `data`.

    Args:
        protocol: a folder (`find_protocol`), or the faces file, beside which `pairs` and `scores` name the others.
        pooling: "N0D1F0" and the like (`evaluation.protocols.pooling`); by default N0, D1 where the protocol brings
            detector scores, and F as the recogniser's contract has it.
        raw: crops (N, 112, 112, 3) uint8 to embeddings (N, D) as the network gives them, neither of unit length nor
            flipped. Needed for N1, and for F1 where the contract has no flip.
        flips: whether `embedder.embed` adds the mirror image.
        unsupported: also the rates that are withheld.

    Raises:
        VultusError: files that do not fit (`read_protocol`), another dataset, or a mode that this recogniser lacks.
    """
    found = _protocol(protocol, pairs, scores)
    mode = Pooling.parse(pooling) if pooling else Pooling(False, found.detector_scores is not None, flips)
    _require(mode, found, embedder, raw, flips)
    rows = _rows(found, data)
    there = np.flatnonzero(rows >= 0)
    there = there[np.argsort(rows[there], kind="stable")]
    used, place = np.unique(rows[there], return_inverse=True)
    embeddings, flipped = _embed(embedder, data.subset(used), mode, raw, flips)
    if len(used) < len(there):  # an image in two templates
        embeddings, flipped = embeddings[place], None if flipped is None else flipped[place]
    pooled = pool_templates(
        embeddings,
        found.template_ids[found.templates[there]],
        found.media[there],
        normalise=not mode.norm,
        detector_scores=found.detector_scores[there] if mode.detector and found.detector_scores is not None else None,
        flipped=flipped,
    )
    return _measure(embedder.name, data.title, found, str(mode), pooled, int((rows < 0).sum()), notes, unsupported)


def _measure(
    model: str,
    dataset: str,
    found: TemplateProtocol,
    mode: str,
    pooled: Templates,
    missing: int,
    notes: tuple[str, ...],
    unsupported: bool,
) -> TemplatesEvaluation:
    first, second = (found.template_ids[side] for side in found.pairs.T)
    scores = score_templates(pooled, first, second)
    people = found.people
    identities = None if people is None else people[found.pairs]
    if people is None:
        notes += (
            "A non-mated pair is of templates that mated pairs join: intervals take comparisons for independent.",
        )
    else:
        notes += (f"The protocol names nobody: mated pairs join its templates to {len(np.unique(people)):,} people.",)
    lost = np.isneginf(scores)
    return TemplatesEvaluation(
        model=model,
        dataset=dataset,
        protocol=found.name,
        pooling=mode,
        verification=verify_list(
            scores, found.same, identities, images=len(found.template_ids), unsupported=unsupported
        ),
        images=len(found.images),
        missing_images=missing,
        templates=len(found.template_ids),
        empty_templates=len(found.template_ids) - len(pooled.ids),
        lost_mated=int((lost & found.same).sum()),
        lost_non_mated=int((lost & ~found.same).sum()),
        notes=notes,
    )


def _protocol(
    protocol: str | Path | TemplateProtocol, pairs: str | Path | None, scores: str | Path | None
) -> TemplateProtocol:
    if isinstance(protocol, TemplateProtocol):
        return protocol
    if Path(protocol).is_dir():
        if pairs or scores:
            raise VultusError(f"{protocol} is a folder with a whole protocol; leave the other files out")
        return find_protocol(protocol)
    if pairs is None:
        raise VultusError(f"{protocol} lists the images of templates; give the file of their pairs too, or a folder")
    return read_protocol(protocol, pairs, scores)


def _require(mode: Pooling, found: TemplateProtocol, embedder: Embedder, raw: Callable | None, flips: bool) -> None:
    """VultusError for a mode that cannot be had; never another mode in its place."""
    if mode.detector and found.detector_scores is None:
        raise VultusError(f"pooling {mode} weighs by detector scores, and {found.name} brings none; use D0")
    if mode.norm and raw is None:
        raise VultusError(
            f"pooling {mode} weighs by the length of embeddings, and {embedder.name} gives them with length 1; use N0"
        )
    if raw is None and mode.flip != flips:
        does = "adds" if flips else "does not add"
        raise VultusError(f"{embedder.name} {does} mirror images, so pooling {mode} cannot be had; use F{flips:d}")


def _rows(found: TemplateProtocol, data: FaceDataset) -> np.ndarray:
    """(N,) row of the view of each image, -1 where it is not there."""
    at = match_paths(data.sources, set(found.images))
    rows = np.array([at.get(image, -1) for image in found.images])
    if (rows >= 0).mean() < FEWEST:
        raise VultusError(
            f"{data.title} has {(rows >= 0).sum():,} of the {len(rows):,} images of {found.name}; build the dataset "
            "from the protocol's photographs"
        )
    return rows


def _embed(
    embedder: Embedder,
    data: FaceDataset,
    mode: Pooling,
    raw: Callable[[np.ndarray], np.ndarray] | None,
    flips: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Embeddings of the view, and of the mirror images where they are to be added here."""
    if not mode.norm and mode.flip == flips:
        return embedder.dataset(data), None
    assert raw is not None
    plain, mirrored = [], []
    for start in track(range(0, len(data), BATCH), f"embed {data.title}"):
        crops = data.crops(range(start, min(start + BATCH, len(data))))
        plain.append(raw(crops))
        if mode.flip:
            mirrored.append(raw(np.ascontiguousarray(crops[:, :, ::-1])))
    return np.concatenate(plain), np.concatenate(mirrored) if mode.flip else None
