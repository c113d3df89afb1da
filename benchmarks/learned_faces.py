"""Was a face learned? A trained run beside whitened PCA on pixels, the untrained network and the mean colour.

    uv run python benchmarks/learned_faces.py RUN DATA [--far 0.01] [--max-per-identity 10] [--out result.json]

DATA holds the splits `train` (the PCA is fitted there) and `test` (never trained on). Prints TAR at the FAR with 95 %
intervals and the ratio of the trained network to each, and writes them as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vultus.data import FaceDataset
from vultus.terminal import table
from vultus.training import open_run
from vultus.workflows import Evaluation, evaluate
from vultus.workflows.baselines import baselines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--far", type=float, default=0.01)
    parser.add_argument("--max-per-identity", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    test = FaceDataset.open(arguments.data / "test").at_most(arguments.max_per_identity)
    evaluation = evaluate(arguments.run, arguments.data / "test", max_per_identity=arguments.max_per_identity)
    assert isinstance(evaluation, Evaluation)
    named = {
        "trained": evaluation.verification,
        **baselines(arguments.run, FaceDataset.open(arguments.data / "train"), test),
    }
    points = {name: found.point(arguments.far) for name, found in named.items()}
    best = points["trained"].tar or 0.0
    rows, result = [], {}
    for name, point in points.items():
        assert point.tar is not None and point.tar_interval is not None, f"{arguments.data}/test is too small"
        low, high = point.tar_interval
        ratio = best / point.tar if point.tar else float("inf")
        rows.append((name, f"{point.tar:.1%}", f"{low:.1%} to {high:.1%}", f"{ratio:.2f}", f"{named[name].auc:.4f}"))
        result[name] = {"tar": point.tar, "interval": [low, high], "ratio": ratio, "auc": named[name].auc}
    found = evaluation.verification
    notes = [
        f"{test.title}: {found.images:,} images of {found.identities:,} identities, {found.mated:,} mated and "
        f"{found.non_mated:,} non-mated pairs; trained on {open_run(arguments.run).facts['images']:,} images",
        *evaluation.notes,
    ]
    table(f"TAR at FAR {arguments.far:g}", ("", "TAR", "95 % interval", "trained / it", "AUC"), rows, notes)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
