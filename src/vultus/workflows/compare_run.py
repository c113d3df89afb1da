"""One training of a comparison in a process of its own, so that its time and memory are nobody else's.

`train_apart` starts it and waits; `python -m vultus.workflows.compare_run FOLDER` is what it starts. FOLDER holds
recipe.yaml, then `run` (the run directory), and outcome.json: how it ended, and what each life of it cost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from vultus.errors import VultusError
from vultus.files import parsing, save_atomically
from vultus.formats import read_json

if TYPE_CHECKING:
    from vultus.training.recipe import Recipe

State = Literal["open", "interrupted", "failed", "finished"]


@dataclass(frozen=True)
class Life:
    """A stretch of training between start and end, interruption or failure. One that was killed leaves none."""

    images: int
    """Crops that its steps saw."""
    seconds: float
    """Wall time of opening, training, validating and saving; imports are left out."""
    cpu_seconds: float
    """The same in time of the processor, all threads and loader processes."""
    peak_bytes: int
    """Largest resident memory of the process."""
    bytes_before: int
    """Resident memory after the imports, before anything was opened."""


@dataclass(frozen=True)
class Outcome:
    state: State
    reason: str = ""
    """Why it failed."""
    lives: tuple[Life, ...] = ()
    images: int = 0
    """Crops that the run's steps saw, those of lives that were killed among them."""

    @property
    def over(self) -> bool:
        """Whether nothing remains to be done. A failed run fails again: the same steps, the same numbers."""
        return self.state in ("finished", "failed")

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        path = folder / "outcome.json"
        if not path.is_file():
            return cls("open")
        with parsing(path, "outcome of a run", "delete its folder"):
            fields = read_json(path, "delete its folder")
            lives = tuple(Life(**life) for life in fields["lives"])
            return cls(fields["state"], fields["reason"], lives, fields["images"])

    def write(self, folder: Path) -> None:
        save_atomically((json.dumps(asdict(self), indent=1) + "\n").encode(), folder / "outcome.json")


def train_apart(recipe: Recipe, folder: Path) -> Outcome:
    """Train `recipe`, whose run directory is `folder`/run, in another process; goes on where it was interrupted.

    Ctrl-C lets the run save its step, then raises KeyboardInterrupt. A failure of the run is no error
    here: the outcome says why.
    """
    outcome = Outcome.read(folder)
    if outcome.over:
        return outcome
    write_recipe(recipe, folder)
    words = [sys.executable, "-m", "vultus.workflows.compare_run", str(folder)]
    # a session of its own: a terminal's Ctrl-C reaches the run once, through here
    process = subprocess.Popen(words, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    outcome = Outcome.read(folder)
    if code in (130, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}, see the lines above"
        outcome = replace(outcome, state="failed", reason=f"the process {how}")
        outcome.write(folder)
    return outcome


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """What the other process reads."""
    content = yaml.safe_dump(recipe.model_dump(), sort_keys=False)
    save_atomically(content.encode(), folder / "recipe.yaml")


def main(folder: Path) -> int:
    """Train or resume, and write outcome.json. Returns the exit code: 0, or 130 where the run was interrupted."""
    from vultus.training import load_recipe
    from vultus.training.loop import train

    run, earlier = folder / "run", Outcome.read(folder)
    resume = (run / "last.pt").is_file()
    if run.is_dir() and not resume:
        shutil.rmtree(run)  # stopped before its first checkpoint
    first = _step(run)
    seconds, cpu, before = time.monotonic(), _cpu(), resident()
    state, reason = "finished", ""
    try:
        if first < _steps(run):
            train(run if resume else load_recipe(folder / "recipe.yaml"), resume=resume)
    except VultusError as error:
        state, reason = "failed", str(error)
    except KeyboardInterrupt:
        state = "interrupted"
    finally:
        seconds, cpu = time.monotonic() - seconds, _cpu() - cpu
    last = _step(run)
    life = Life(_images(run, first, last), round(seconds, 3), round(cpu, 3), peak(), before)
    Outcome(state, reason, (*earlier.lives, life), _images(run, 0, last)).write(folder)
    return 130 if state == "interrupted" else 0


def _step(run: Path) -> int:
    """The step of the last checkpoint, 0 without one."""
    from vultus.training.run import load_checkpoint

    return int(load_checkpoint(run / "last.pt")["step"]) if (run / "last.pt").is_file() else 0


def _steps(run: Path) -> float:
    """The steps that the run will have, as far as a checkpoint tells."""
    from vultus.training.run import load_checkpoint

    return load_checkpoint(run / "last.pt")["steps"] if (run / "last.pt").is_file() else float("inf")


def _images(run: Path, first: int, last: int) -> int:
    """Crops that the steps `first` to `last` saw."""
    if first == last:
        return 0
    from vultus.data import FaceDataset, IdentityBatches
    from vultus.training import open_run
    from vultus.training.setup import make_batches

    recipe = open_run(run).recipe
    batches = make_batches(FaceDataset.open(recipe.data.train).at_least(recipe.data.min_images), recipe)
    accumulate = recipe.training.accumulate
    if isinstance(batches, IdentityBatches):
        return sum(len(batches.rows(number)) for number in range(first * accumulate, last * accumulate))
    return (last - first) * accumulate * batches.batch_size


def _cpu() -> float:
    """Seconds of the processor, this process and those of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def resident() -> int:
    """Resident memory now, in bytes; 0 where the system does not tell."""
    return _status("VmRSS")


def peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    if found := _status("VmHWM"):
        return found
    try:
        import resource
    except ImportError:
        return 0
    # Where there is no /proc. On Linux this number can be the parent's: it outlives the start of a new program.
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def _status(name: str) -> int:
    path = Path("/proc/self/status")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def end_with_parent() -> None:
    """A comparison that was killed must not leave a run behind that the next one would write into as well."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, as do its children
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(Path(sys.argv[1])))
