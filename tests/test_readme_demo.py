"""The README's pictures and figures of the demo are of one run: `benchmarks/readme_images.py` writes them all."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def test_readme_pictures_and_figures_are_of_one_run() -> None:
    spec = importlib.util.spec_from_file_location("readme_images", ROOT / "benchmarks" / "readme_images.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    measured = json.loads((IMAGES / "demo.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert script.LINE.findall(readme) == [script.line(measured)]
    for name in script.PICTURES:
        assert f"docs/images/{name}" in readme
        assert hashlib.sha256((IMAGES / name).read_bytes()).hexdigest() == measured["pictures"][name]
