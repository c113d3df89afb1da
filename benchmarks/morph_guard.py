"""What the guards of an enrollment make of morphs: faces between a stranger and the person who is enrolled.

    uv run vultus data build FACES --out lfw --detector yunet
    uv run python benchmarks/morph_guard.py --data lfw --model sface [--out morphs.json]

The people of DATA are halved at random. Thresholds come from the one half, the other is tried, and then the other way
round. K photographs of each person with more are enrolled, and one more comes, of one of five kinds:

genuine         another photograph of the person
limit           an embedding between the mean of the enrolled templates and a stranger's photograph (slerp), as far
                toward the stranger as the guard's limit allows: what somebody computes who may hand in embeddings
unnoticed       the same, as far as it goes without a doubt: what somebody computes who knows of that as well
blend A         crops, aligned by landmarks, of another photograph of the person and of the stranger, mixed pixel by
                pixel, A of the stranger: what somebody can print
A plain stranger's photograph is `stranger`.

For each kind: how many the guard alone (`far_templates`) refuses; how many are called doubtful (enrolled, with a
warning); how many are refused as like somebody else where the stranger is enrolled as well; and how many attacks
succeed: not refused, and another photograph of the stranger is then matched as the person, or a part of an ambiguous
answer, at FPIR 0.1 % over the gallery. Each person is tried once a kind, with a stranger of their own; 95 % Wilson
intervals over people.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus.data import FaceDataset
from vultus.evaluation import Calibration, calibrate, wilson
from vultus.gallery.guards import doubtful_templates, far_templates, find_duplicates, mated_threshold
from vultus.gallery.index import Hit
from vultus.gallery.rates import search_threshold
from vultus.terminal import table
from vultus.workflows.embedder import Embedder, open_embedder

KNOWN = (1, 3)
SHARES = (0.3, 0.4, 0.5, 0.6)
FMR, DUPLICATES, FPIR = 0.01, 0.001, 0.001
"""The defaults of a collection: `outlier_fmr`, `duplicate_fpir`, and the rate of a search."""


@dataclass(frozen=True)
class Attack:
    """One person, and the stranger who wants to be taken for them: rows of the embeddings."""

    known: np.ndarray
    genuine: int
    stranger: int
    other: int
    """Another photograph of the stranger, who comes to be searched."""


@dataclass(frozen=True)
class Outcome:
    far: bool
    doubtful: bool
    like_another: bool
    matched: bool
    """The stranger is matched, if it is enrolled."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    data, embedder = FaceDataset.open(arguments.data).at_most(10), open_embedder(arguments.model)
    rows, rng = embedder.dataset(data), np.random.default_rng(arguments.seed)
    people = rng.permutation(len(data.identities))
    halves = np.array_split(people, 2)
    outcomes: dict[tuple[int, str], list[Outcome]] = {}
    for own, tried in (halves, halves[::-1]):
        here = np.isin(data.labels, own)
        calibration = calibrate(rows[here], data.labels[here], source="the other half", contract_id="benchmark")
        photographs = [rng.permutation(np.flatnonzero(data.labels == one)) for one in tried]
        for known in KNOWN:
            for kind, found in attempts(data, rows, embedder, photographs, calibration, known).items():
                outcomes.setdefault((known, kind), []).extend(found)
    figures = [
        figure(known, kind, found) for (known, kind), found in sorted(outcomes.items(), key=lambda item: item[0][0])
    ]
    show(figures)
    if arguments.out:
        about = {"data": data.title, "digest": data.digest, "model": embedder.name, "seed": arguments.seed}
        arguments.out.write_text(json.dumps({**about, "figures": figures}, indent=1) + "\n")


def attempts(
    data: FaceDataset,
    rows: np.ndarray,
    embedder: Embedder,
    photographs: list[np.ndarray],
    calibration: Calibration,
    known: int,
) -> dict[str, list[Outcome]]:
    """Every kind of photograph for every person with enough of them."""
    victims = [one for one in photographs if len(one) > known]
    several = [one for one in photographs if len(one) > 1]
    attacks = [
        Attack(one[:known], one[known], other[0], other[1])
        for one, other in zip(victims, several[1:] + several[:1], strict=False)
        if one is not other
    ]
    gallery = rows[np.concatenate([one[:known] for one in photographs])]
    owners = np.repeat(np.arange(len(photographs)), [len(one[:known]) for one in photographs])
    place = {int(one[0]): number for number, one in enumerate(photographs)}
    least, usual = calibration.threshold_at(FMR), mated_threshold(calibration)
    assert usual is not None
    made = {
        "genuine": rows[[attack.genuine for attack in attacks]],
        "stranger": rows[[attack.stranger for attack in attacks]],
        "limit": np.stack([between(rows, attack, least.score) for attack in attacks]),
        "unnoticed": np.stack([between(rows, attack, usual.score) for attack in attacks]),
    }
    for share in SHARES:
        made[f"blend {share:.1f}"] = embed_blends(data, embedder, attacks, share)
    searched = search_threshold(calibration, FPIR, len(gallery))
    outcomes: dict[str, list[Outcome]] = {kind: [] for kind in made}
    for kind, templates in made.items():
        for attack, row in zip(attacks, templates.astype(np.float32), strict=True):
            enrolled, new = rows[attack.known], row[None]
            scores = gallery @ row
            order = np.argsort(-scores)[:10]
            hits = [[Hit(int(owners[k]), float(scores[k]), int(k)) for k in order]]
            alike = find_duplicates(hits, place[int(attack.known[0])], calibration, DUPLICATES, len(gallery))
            doubts = doubtful_templates(new, enrolled, usual, frozenset({0} if alike else ()))
            outcomes[kind].append(
                Outcome(
                    far=bool(far_templates(new, enrolled, least)),
                    doubtful=bool(doubts),
                    like_another=any(doubt.like_another for doubt in doubts),
                    matched=bool(rows[attack.other] @ row >= searched.score),
                )
            )
    return outcomes


def between(rows: np.ndarray, attack: Attack, limit: float) -> np.ndarray:
    """The unit vector on the way from the person's mean template to the stranger's that just scores `limit`."""
    known = rows[attack.known].astype(np.float64)
    start = known.mean(axis=0)
    start, stranger = start / np.linalg.norm(start), rows[attack.stranger].astype(np.float64)
    side = stranger - (stranger @ start) * start
    side /= np.linalg.norm(side)
    low, high = 0.0, float(np.arccos(np.clip(stranger @ start, -1, 1)))
    for _ in range(60):
        angle = (low + high) / 2
        made = np.cos(angle) * start + np.sin(angle) * side
        low, high = (angle, high) if (known @ made).mean() >= limit + 1e-4 else (low, angle)
    return np.cos(low) * start + np.sin(low) * side


def embed_blends(data: FaceDataset, embedder: Embedder, attacks: list[Attack], share: float) -> np.ndarray:
    """Embeddings of crops of both, `share` of the stranger's in each pixel."""
    made = []
    for start in range(0, len(attacks), 64):
        some = attacks[start : start + 64]
        mine = data.crops([attack.genuine for attack in some]).astype(np.float32)
        theirs = data.crops([attack.stranger for attack in some]).astype(np.float32)
        made.append(embedder.embed(np.rint((1 - share) * mine + share * theirs).astype(np.uint8)))
    return np.concatenate(made)


def figure(known: int, kind: str, found: list[Outcome]) -> dict[str, object]:
    """Counts and shares with 95 % intervals."""
    entered = [one for one in found if not one.far]
    counts = {
        "refused by the guard": sum(one.far for one in found),
        "doubtful": sum(one.doubtful and not one.far for one in found),
        "refused as like another": sum(one.like_another and not one.far for one in found),
        "stranger matched, guard alone": sum(one.matched for one in entered),
        "stranger matched without a doubt": sum(one.matched and not one.doubtful for one in entered),
        "stranger matched, both enrolled": sum(one.matched and not one.like_another for one in entered),
    }
    shares = {
        name: {"count": count, "share": count / len(found), "interval": wilson(count, len(found))}
        for name, count in counts.items()
    }
    return {"enrolled": known, "kind": kind, "people": len(found), **shares}


def show(figures: list[dict[str, object]]) -> None:
    def cell(value: object) -> str:
        if not isinstance(value, dict):
            return str(value)
        low, high = value["interval"]
        return f"{100 * value['share']:.1f} ({100 * low:.1f} to {100 * high:.1f})"

    table("Morphs, in % with 95 % intervals", list(figures[0]), [[cell(v) for v in one.values()] for one in figures])


if __name__ == "__main__":
    main()
