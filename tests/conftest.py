"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Ctrl-C works in the processes that tests start, also where the tests run in the background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real photographs and weights beside the checkout; what needs them is skipped only where they are absent."""
    if not SHARED.is_dir():
        if os.environ.get("VULTUS_REQUIRE_SHARED"):
            pytest.fail(f"{SHARED} is required here and absent")
        pytest.skip("the shared data (../shared/data) is not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def procedural(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 40 procedural identities with 6 images each, split."""
    from vultus.data import split_dataset
    from vultus.workflows import synthesise

    root = tmp_path_factory.mktemp("procedural") / "faces"
    synthesise(root, identities=40, images=6, seed=3, workers=1)
    split_dataset(root, {"train": 0.5, "val": 0.15, "calibration": 0.15, "test": 0.2}, seed=1)
    return root


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the keys and the state of whoever runs it; not after a `monkeypatch.undo()` either."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        patch.delenv("VULTUS_GALLERY_KEY", raising=False)
        patch.setenv("VULTUS_ACTOR", "test")
        yield
