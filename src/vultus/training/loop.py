"""The training loop: an explicit walk over optimiser steps, resumable at any of them.

Every batch is a function of (seed, epoch, step), every learning rate of the step; the checkpoint holds weights,
optimiser, random state and step. So an interrupted and resumed run gives the same losses as an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import VultusError
from vultus.terminal import Stopping
from vultus.training.ema import Deployed
from vultus.training.finetune import TARGETS
from vultus.training.gradients import gradient_norm, scale_gradients
from vultus.training.prepare import prepare
from vultus.training.recipe import Recipe, load_recipe
from vultus.training.report import Reporter
from vultus.training.run import OBSERVED, MetricsWriter, Run, check_free, open_run
from vultus.training.schedule import learning_rate, make_optimizer, set_rate
from vultus.training.setup import Trainee, make_fabric, make_loader
from vultus.training.validation import Selection, ValidationResult

if TYPE_CHECKING:
    import torch

SAVE_SECONDS = 300.0
"""A killed run loses no more than this (and the time between two validations)."""
VALIDATIONS = 50
"""At most about this many in a run: short epochs are not worth one each."""


def train(
    recipe: Recipe | str | Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    quiet: bool = False,
    models_dir: str | None = None,
) -> Run:
    """Train as the recipe says, or go on with the run directory `recipe` (`resume=True`). Returns the run.

    Ctrl-C or SIGTERM ends the current step, saves, and raises KeyboardInterrupt: the run can be resumed.
    models_dir: where model files lie, for a `model.weights` that is a name.

    Raises:
        VultusError: a recipe, data or checkpoint that does not fit, or a loss that is no longer a number.
    """
    if resume:
        if overrides:
            raise VultusError("a resumed run keeps its recipe; start a new run to change it")
        run = open_run(str(recipe))
        run.check_recipe()
        recipe, state = run.recipe, run.load()
        if state["step"] >= state["steps"]:
            raise VultusError(f"{run.path} has finished its {state['steps']} steps; there is nothing to resume")
    else:
        recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
        check_free(Path(recipe.run))
        run, state = None, None
    return _Trainer(recipe, run, state, Reporter(quiet), models_dir).fit()


class _Trainer:
    """What a run needs in memory. Built once; `fit` walks the steps."""

    def __init__(
        self, recipe: Recipe, run: Run | None, state: dict[str, Any] | None, reporter: Reporter, models_dir: str | None
    ) -> None:
        import torch

        self.recipe, self.reporter = recipe, reporter
        self.fabric = make_fabric(recipe.training)
        torch.manual_seed(recipe.training.seed)
        settings = recipe.training
        prepared = prepare(recipe, run, self.fabric, reporter, models_dir)
        self.run, self.network, self.loss = prepared.run, prepared.network, prepared.loss
        self.validation, self.tuning = prepared.validation, prepared.tuning
        self.distillation, self.batches = prepared.distillation, prepared.batches
        self.steps_per_epoch = prepared.steps_per_epoch
        self.steps: int = self.run.facts["steps"]
        rates = self.tuning.rates if self.tuning else None
        self.optimizer = make_optimizer([self.network, self.loss], recipe.optimizer, rates, prepared.still)
        self.step, self.seconds = 0, 0.0
        self.selection = Selection(settings.patience)
        if settings.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        forward: torch.nn.Module = torch.compile(self.network) if settings.compile else self.network  # type: ignore[assignment]
        weight = recipe.tuning.loss_weight if recipe.tuning else 1.0
        trainee = Trainee(forward, self.loss, self.distillation, weight)
        self.trainee, self.optimizer = self.fabric.setup(trainee, self.optimizer)
        self.trainee.train()
        if self.tuning is not None:
            self.tuning.settle()
        self.deployed = Deployed(self.network, settings.ema, recipe.tuning.blend if recipe.tuning else 1.0)
        if state is not None:
            self._restore(state)

    def fit(self) -> Run:
        import torch

        every = self.recipe.training.evaluate_every or self.steps_per_epoch * -(
            -self.steps // (VALIDATIONS * self.steps_per_epoch)
        )
        log_every = max(1, min(20, self.steps // 200))
        started = saved = time.monotonic()
        before = self.seconds
        metrics = MetricsWriter(self.run, self.step)
        if metrics.dropped:
            self.reporter.say(f"{self.run.metrics}: left out {metrics.dropped} damaged line(s); the checkpoint decides")
        if not self.run.checkpoint().is_file():
            self._save()  # from now on the run can be resumed, whatever happens
        if self.tuning is not None and self.step == 0 and self.selection.before is None:
            self._begin(metrics)
            self._save()
        loader = make_loader(self.batches, self.recipe.training, self.steps_per_epoch, self.step)
        last_log, since = self.step, started
        try:
            with Stopping() as stopping, self.reporter.bar(self.steps, self.step) as bar:
                batches = iter(loader)
                while self.step < self.steps:
                    try:
                        loss, images, row = self._step(batches)
                        _check_finite(loss)
                    except RuntimeError:
                        if stopping.asked:  # SIGTERM reached the loader's workers too; the last checkpoint stands
                            raise stopping.asked from None
                        raise
                    except VultusError as error:
                        kept = f"{self.run.checkpoint()} still holds step {self.run.load()['step']}"
                        raise VultusError(f"step {self.step + 1}: {error} ({kept})") from None
                    self.step += 1
                    self.seconds = before + time.monotonic() - started
                    bar.advance(loss, images)
                    if self.step % log_every == 0 or self.step == self.steps:
                        bar.total(self._keep_time())
                        speed = images * (self.step - last_log) / max(1e-9, time.monotonic() - since)
                        epoch = (self.step - 1) // self.steps_per_epoch
                        row |= self._observed()
                        metrics.add(
                            step=self.step,
                            epoch=epoch,
                            seconds=round(self.seconds, 2),
                            loss=loss,
                            images_per_second=speed,
                            **row,
                        )
                    if self.step % every == 0 or self.step == self.steps:
                        self._validate(metrics)
                        if self.selection.exhausted:
                            self.steps = self.step
                    due = self.step % every == 0 or time.monotonic() - saved > SAVE_SECONDS
                    if due or self.step == self.steps or stopping.asked:
                        self._save()
                        saved = time.monotonic()
                    if stopping.asked and self.step < self.steps:
                        raise stopping.asked
                    if self.step % log_every == 0:
                        last_log, since = self.step, time.monotonic()
            self._conclude()
        finally:
            metrics.close()
            del loader
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return self.run

    def _step(self, batches: Any) -> tuple[float, int, dict[str, float]]:
        """One optimiser step: mean loss, images, and what metrics.csv wants of it."""
        section, accumulate = self.recipe.optimizer, self.recipe.training.accumulate
        rate = learning_rate(self.step, self.steps, section.lr, self.recipe.schedule)
        set_rate(self.optimizer, rate)
        update = getattr(self.loss, "update", None)
        if update is not None:
            update.lr = rate
        total, images = 0.0, 0
        for micro in range(accumulate):
            crops, labels, rows = next(batches)
            inputs = [crops, labels] if self.distillation is None else [crops, labels, self.distillation.targets(rows)]
            with self.fabric.no_backward_sync(self.trainee, enabled=micro < accumulate - 1):
                loss = self.trainee(*self.fabric.to_device(inputs)) / accumulate
                self.fabric.backward(loss)
            total += float(loss.detach())
            images += len(labels)
        row = {"lr": rate, **self._clip(update.squares if update is not None else None)}
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.deployed.follow(self.step + 1)
        return total, images, row

    def _clip(self, updated: torch.Tensor | None) -> dict[str, float]:
        """Clip as the recipe says; the norms before it, of all gradients and of the head's.

        updated: the head's sum of squares, where its gradient exists no more.
        """
        section = self.recipe.optimizer
        self.fabric.strategy.precision.unscale_gradients(getattr(self.optimizer, "optimizer", self.optimizer))
        network, head = list(self.network.parameters()), list(self.loss.parameters())
        of_network, of_head = gradient_norm(network), gradient_norm(head, updated)
        norm = (of_network.square() + of_head.to(of_network).square()).sqrt()
        if section.clip_norm is not None:
            clipped, parts = (norm, network + head) if section.clip == "all" else (of_network, network)
            scale_gradients(parts, (section.clip_norm / (clipped + 1e-6)).clamp(max=1.0))
        return {"grad_norm": float(norm), "head_grad_norm": float(of_head)}

    def _observed(self) -> dict[str, float]:
        """What the loss saw of its last batch, as far as metrics.csv has a column for it."""
        row = {name: float(value) for name, value in self.loss.observed.items() if name in OBSERVED}
        return row if self.distillation is None else row | {"drift": float(self.distillation.drift)}

    def _keep_time(self) -> int:
        """Optimiser steps of the run. A run by `minutes` plans them anew from its own pace, so that the learning rate
        goes through its whole schedule in the time given.
        """
        minutes = self.recipe.training.minutes
        if minutes is not None and self.step >= 10:
            left = minutes * 60 - self.seconds
            self.steps = self.step + max(0, int(left * self.step / self.seconds))
        return self.steps

    def _begin(self, metrics: MetricsWriter) -> None:
        """Before the first step of a fine-tuning: say what trains, and measure the network as it came."""
        assert self.tuning is not None
        for line in self.tuning.describe():
            self.reporter.say(line)
        if self.validation is not None:
            before = self._measure(metrics)
            self.selection.start(before)
            self.run.record(before={"tar": before.tar, "far": before.far, "auc": before.auc})

    def _measure(self, metrics: MetricsWriter) -> ValidationResult:
        assert self.validation is not None
        result = self.validation.measure(self.deployed.network)
        metrics.add(
            step=self.step,
            epoch=max(0, self.step - 1) // self.steps_per_epoch,
            seconds=round(self.seconds, 2),
            val_tar=result.tar,
            val_far=result.far,
            val_auc=result.auc,
        )
        self.reporter.validated(self.step, result)
        return result

    def _validate(self, metrics: MetricsWriter) -> None:
        if self.validation is not None and self.selection.better(self._measure(metrics)):
            self.run.save(self._state(), "best")

    def _conclude(self) -> None:
        """What the run came to, in run.json and in words."""
        chosen, facts = self.selection, {}
        if chosen.exhausted:
            facts["stopped"] = f"early at step {self.step}: {chosen.stale} validations in a row without a better one"
            self.reporter.say(f"stopped {facts['stopped']}")
        if chosen.helped is not None:
            facts["helped"] = chosen.helped
            facts["differences"] = {
                name: {"before": d.b, "after": d.a, "far": d.far, "interval": d.interval, "measurable": d.excludes_zero}
                for name, d in chosen.differences.items()
            }
            for line in chosen.words():
                self.reporter.say(line)
            if not self.run.checkpoint("best").is_file():
                self.reporter.say("no step was better than before: there is no best.pt, last.pt is the last step")
        if self.distillation is not None:
            (self.run.path / TARGETS).unlink(missing_ok=True)
        self.run.record(steps=self.step, **facts)

    def _state(self) -> dict[str, Any]:
        import torch

        return {
            **self.deployed.state(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "scaler": scaler.state_dict() if (scaler := self._scaler()) is not None else {},
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            **self.selection.state(),
        }

    def _scaler(self) -> Any:
        """The gradient scaler of fp16, None otherwise."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def _save(self) -> None:
        self.run.save(self._state(), "last")

    def _restore(self, state: dict[str, Any]) -> None:
        import torch

        try:
            self.deployed.restore(state)
            self.loss.load_state_dict(state["loss"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            self.step, self.steps, self.seconds = int(state["step"]), int(state["steps"]), float(state["seconds"])
            self.selection.restore(state)
            if state["cuda_random"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["cuda_random"])
            if state["scaler"] and (scaler := self._scaler()) is not None:
                scaler.load_state_dict(state["scaler"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise VultusError(f"{self.run.checkpoint()} does not fit its recipe ({reason})") from None


def _check_finite(loss: float) -> None:
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise VultusError(f"the loss is {loss}; lower optimizer.lr or set optimizer.clip_norm")
