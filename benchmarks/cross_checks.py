"""The same scores by vultus, scikit-learn, bob.measure and pyeer, and LFW's accuracy by the textbook, in one run.

    uv run python benchmarks/cross_checks.py --data DATA --pairs pairs.txt [--model sface] [--models DIR]
        [--peers PYTHON] [--out result.json]

bob.measure and pyeer need an older numpy, so they live in an environment of their own, named by --peers:
`python -m venv peers && peers/bin/pip install bob.measure pyeer`. Without it their columns stay empty.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from vultus.data import FaceDataset
from vultus.evaluation import kfold_accuracy, parse_pairs, verify_scores
from vultus.terminal import table
from vultus.workflows.embedder import open_embedder
from vultus.workflows.pairs import rows_of

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
PEERS = r"""
import json, sys
import numpy as np, bob.measure
from pyeer.eer_info import get_eer_stats
scores = np.load(sys.argv[1])
mated, non_mated = scores["mated"].astype(float), scores["non_mated"].astype(float)
fars = [float(far) for far in sys.argv[2:]]
threshold = [bob.measure.far_threshold(non_mated, mated, far) for far in fars]
stats = get_eer_stats(mated, non_mated)
fmr, fnmr = np.asarray(stats.fmr), np.asarray(stats.fnmr)
print(json.dumps({
    "bob.measure": {"tar": [1 - bob.measure.farfrr(non_mated, mated, t)[1] for t in threshold],
                    "threshold": threshold, "eer": float(bob.measure.eer(non_mated, mated))},
    "pyeer": {"tar": [float(1 - fnmr[np.argmin(abs(fmr - far))]) for far in fars],
              "far": [float(fmr[np.argmin(abs(fmr - far))]) for far in fars],
              "eer": float(stats.eer), "auc": float(stats.auc)},
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--models", help="folder with model files")
    parser.add_argument("--peers", type=Path, help="Python of an environment with bob.measure and pyeer")
    parser.add_argument("--per-identity", type=int, default=4)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    embedder = open_embedder(arguments.model, arguments.models)
    data = FaceDataset.open(arguments.data)
    few = data.at_most(arguments.per_identity)
    mated, non_mated = scores_of(embedder.dataset(few), few.labels)
    ours = verify_scores(mated, non_mated, FARS)
    found = {
        "vultus": {
            "tar": [point.tar for point in ours.points],
            "far": [point.far_measured for point in ours.points],
            "eer": ours.eer,
            "auc": ours.auc,
        },
        "scikit-learn": by_scikit_learn(mated, non_mated),
        **(by_peers(arguments.peers, mated, non_mated) if arguments.peers else {}),
    }
    rows = [
        (name, *(percent(tar) for tar in of["tar"]), percent(of["eer"], 4), f"{of['auc']:.7f}" if "auc" in of else "")
        for name, of in found.items()
    ]
    table(
        f"TAR at FAR, {len(mated):,} mated and {len(non_mated):,} non-mated scores of {embedder.name}",
        ("", *(f"{far:g}" for far in FARS), "EER", "AUC"),
        rows,
    )

    pairs = parse_pairs(arguments.pairs)
    first, second = rows_of(pairs, data)
    rows_used = np.unique([first, second])
    embeddings = np.empty((len(data), 0), np.float32)
    part = embedder.dataset(data.subset(rows_used))
    embeddings = np.zeros((len(data), part.shape[1]), np.float32)
    embeddings[rows_used] = part
    scores = np.einsum("nd,nd->n", embeddings[first], embeddings[second])
    accuracy = kfold_accuracy(scores, pairs.same, pairs.folds)
    by_the_book = textbook(scores, pairs.same, pairs.folds)
    found["lfw"] = {"vultus": accuracy.mean, "textbook": by_the_book}
    table(
        "LFW, accuracy over the folds",
        ("vultus", "textbook (threshold from a grid on the other folds)"),
        [(f"{accuracy.mean:.4%}", f"{by_the_book:.4%}")],
    )
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def scores_of(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mated, non-mated) scores of all pairs, by the plainest matrix product."""
    i, j = np.triu_indices(len(labels), 1)
    scores = (embeddings @ embeddings.T)[i, j]
    return scores[labels[i] == labels[j]], scores[labels[i] != labels[j]]


def by_scikit_learn(mated: np.ndarray, non_mated: np.ndarray) -> dict:
    truth = np.concatenate([np.ones(len(mated), bool), np.zeros(len(non_mated), bool)])
    scores = np.concatenate([mated, non_mated])
    far, tar, _ = roc_curve(truth, scores, drop_intermediate=False)
    crossing = int(np.argmin(np.abs(far - (1 - tar))))
    return {
        "tar": [float(tar[far <= rate].max()) for rate in FARS],
        "far": [float(far[far <= rate].max()) for rate in FARS],
        "eer": float(far[crossing] + 1 - tar[crossing]) / 2,
        "auc": float(roc_auc_score(truth, scores)),
    }


def by_peers(python: Path, mated: np.ndarray, non_mated: np.ndarray) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.npz"
        np.savez(path, mated=mated, non_mated=non_mated)
        command = [str(python), "-c", PEERS, str(path), *map(str, FARS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def textbook(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> float:
    """Mean over the folds of the accuracy at the best of 4,000 thresholds on the other folds (LFW, View 2)."""
    grid = np.linspace(-1, 1, 4001)
    right = np.array([(scores >= threshold) == same for threshold in grid])
    means = []
    for fold in np.unique(folds):
        best = np.argmax(right[:, folds != fold].mean(axis=1))
        means.append(right[best][folds == fold].mean())
    return float(np.mean(means))


def percent(rate: float | None, digits: int = 3) -> str:
    return "withheld" if rate is None else f"{rate:.{digits}%}"


if __name__ == "__main__":
    main()
