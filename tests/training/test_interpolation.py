"""A recipe brings nothing of the environment into a run, and no few lines of it make any amount of data."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.errors import VultusError
from vultus.training.recipe import Recipe, load_recipe

RECIPE = "run: {run}\ndata:\n  train: {train}\n"


def refused(read) -> VultusError:
    with pytest.raises(VultusError) as caught:
        read()
    assert "s3cret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("text", ["${oc.env:SECRET}", "x${oc.env:SECRET}", "${run}", "'${oc.env:SECRET,none}'"])
def test_interpolation_is_refused_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(run="r", train=text))
    error = refused(lambda: load_recipe(path))
    assert (error.code, error.fields["key"]) == ("interpolation", "data.train")
    path.write_text(RECIPE.format(run="r", train="d"))
    plain = text.strip("'")
    for read in (
        lambda: load_recipe(path, [f"run={plain}"]),
        lambda: load_recipe(path, given={"run": plain}),
        lambda: load_recipe({"run": plain, "data": {"train": "d"}}),
        lambda: Recipe.from_dict({"run": plain, "data": {"train": "d"}}),
    ):
        error = refused(read)
        assert (error.code, error.fields["key"]) == ("interpolation", "run")


def test_aliases_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    for text in (
        "\n".join(lines),
        "[" * 5000,
        "a: " + "{a: " * 3000,
        "a: b: c",
        "\t- x",
        "a: !!python/name:os.system",
    ):
        path.write_text(text)
        assert refused(lambda: load_recipe(path)).code == "malformed", text[:40]
