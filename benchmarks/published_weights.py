"""Five published recognisers, measured by `vultus evaluate` beside the figures that their collection states.

    uv run python benchmarks/published_weights.py --data DATA --pairs pairs.txt --weights WEIGHTS [--out result.json]

DATA is LFW's public half, built with the float32 detector: `vultus data build FACES --out DATA --detector yunet-n`.
The stated figures were measured by another program on the same photographs (5 folds of LFW's pairs; all pairs of at
most 10 images an identity), so they check loading, preprocessing, alignment and evaluation at once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from vultus.recognizer import load_recognizer
from vultus.terminal import table
from vultus.workflows import Evaluation, PairsEvaluation, evaluate

STATED = {  # accuracy on pairs, %; TAR at FAR 1e-3 on all pairs, %; the threshold there
    "sface/sface_2021dec_int8bq_clean.onnx": (99.53, 98.78, 0.365),
    "edgeface/edgeface_xs_dequant_fp32.pt": (99.47, 99.18, 0.259),
    "edgeface/edgeface_xxs_dequant_fp32.pt": (99.33, 98.86, 0.278),
    "mobilefacenet_112x112/mobilefacenet.onnx": (99.17, 97.65, 0.333),
    "mobilefacenet_112x112/mobilefacenet.pt": (99.17, 97.65, 0.333),
    "mobilefacenet_112x96/068.ckpt": (98.57, 91.87, 0.408),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    rows, result = [], {}
    for file, (accuracy, tar, threshold) in STATED.items():
        recognizer = load_recognizer(arguments.weights / file)
        pairs = evaluate(recognizer, arguments.data, pairs=arguments.pairs)
        every = evaluate(recognizer, arguments.data, max_per_identity=10)
        assert isinstance(pairs, PairsEvaluation) and isinstance(every, Evaluation)
        point = every.verification.point(1e-3)
        assert point.tar is not None and point.threshold is not None
        found = (100 * pairs.kfold.mean, 100 * point.tar, point.threshold)
        rows.append(
            (
                file,
                f"{found[0]:.2f} ({accuracy:.2f}, {found[0] - accuracy:+.2f})",
                f"{found[1]:.2f} ({tar:.2f}, {found[1] - tar:+.2f})",
                f"{found[2]:.3f} ({threshold:.3f}, {found[2] - threshold:+.3f})",
            )
        )
        result[file] = {"measured": found, "stated": (accuracy, tar, threshold)}
        table("Measured (stated, difference)", ("file", "pairs %", "TAR at FAR 1e-3 %", "threshold"), rows)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
