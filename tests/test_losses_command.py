from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.losses import list_losses


def test_all_losses_are_listed_with_formula_and_paper() -> None:
    output = CliRunner().invoke(app, ["losses"]).output
    assert all(f"\n{name}\n" in f"\n{output}" for name in list_losses())
    assert "cos(θ + m)" in output and "arXiv 1801.07698" in output and "margin=0.5" in output


def test_one_loss_is_explained() -> None:
    output = CliRunner().invoke(app, ["losses", "adaface"]).output
    assert "momentum" in output and "cosface" not in output
    result = CliRunner().invoke(app, ["losses", "arcfase"])
    assert isinstance(result.exception, VultusError) and "arcface" in str(result.exception)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["losses", "--plot", str(tmp_path / "new" / "losses.png")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new" / "losses.png").read_bytes()[:4] == b"\x89PNG"
    result = CliRunner().invoke(app, ["losses", "--plot", str(tmp_path / "losses.pdf")])
    assert isinstance(result.exception, VultusError)
    with pytest.raises(VultusError, match=r"\.png"):
        raise result.exception
