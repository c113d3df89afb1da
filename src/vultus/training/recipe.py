"""The recipe: what a person decides about a training run, and nothing that the data or the model knows itself."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vultus.errors import VultusError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


class DataSection(_Section):
    train: str
    """Dataset or split to train on: DATA or DATA/SPLIT."""
    validation: str | None = None
    """Split for choosing the best checkpoint; by default the split `val` beside the training split, if there is one."""
    min_images: int = Field(1, ge=1)
    """Leave out training identities with fewer images."""


class AugmentSection(_Section):
    """Probabilities of `data.Augmentation`."""

    flip: float = Field(0.5, ge=0, le=1)
    shift: float = Field(0.0, ge=0, le=1)
    crop: float = Field(0.0, ge=0, le=1)
    low_resolution: float = Field(0.0, ge=0, le=1)
    blur: float = Field(0.0, ge=0, le=1)
    color: float = Field(0.0, ge=0, le=1)
    grey: float = Field(0.0, ge=0, le=1)
    erase: float = Field(0.0, ge=0, le=1)


class ModelSection(_Section):
    name: str = "mobilefacenet"
    """A name of `vultus models list --backbones`."""
    embedding_dim: int = Field(512, ge=2)
    pretrained: bool = False
    """Start from timm's published weights (timm/ backbones, needs the network)."""
    options: dict[str, Any] = {}
    """Further arguments of the model, for example dropout."""


class LossSection(_Section):
    """A loss by name (`loss: arcface`), or a block with the head's options and the loss's own parameters, as
    `vultus losses` shows them (`margin: 0.4`). All but the name are optional.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "arcface"
    scale: float | None = Field(None, gt=0)
    margin_grad: Literal["exact", "detached"] | None = None
    engine: Literal["auto", "dense", "cut", "triton"] | None = None
    keep: bool | None = None
    """Whether products are kept for backward; by the free memory if not given."""
    products: Literal["fp32", "bf16", "fp16"] | None = None
    """Type of the head's matrix products; bf16 if training.precision is bf16 (gradients are then 1 to 3 % off)."""
    sample: float | None = Field(None, gt=0, le=1)
    """Share of the centres in a step (Partial FC)."""
    filter_above: float | None = Field(None, gt=-1, lt=1)
    """Other classes with a cosine above this are left out, as label noise."""
    skip_below: float | None = Field(None, ge=0, lt=1)
    update_in_backward: bool = False
    """SGD on the centres within backward: their gradient is never held whole."""
    check: bool = False
    """Look for bad labels and embeddings on a GPU too, which waits for it at every step."""

    @model_validator(mode="after")
    def _known(self) -> LossSection:
        from vultus.losses import describe_loss

        info = describe_loss(self.name)
        for key in self.parameters:
            if key not in info.parameters:
                options = [name for name in LossSection.model_fields if name != "name"]
                near = difflib.get_close_matches(key, [*info.parameters, *options], n=1)
                hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(info.parameters) or 'none'}"
                raise ValueError(f"{self.name} has no parameter {key}; {hint}")
        if info.pairs and (wrong := [k for k in self.head if k not in ("name", "check")]):
            raise ValueError(f"{self.name} compares pairs and has no class centres; remove {', '.join(wrong)}")
        if self.update_in_backward and self.sample not in (None, 1.0):
            raise ValueError("update_in_backward and sample both keep the gradient small; choose one")
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """The loss's own parameters that were given."""
        return dict(self.model_extra or {})

    @property
    def head(self) -> dict[str, Any]:
        """The other keys that were given and are not the default."""
        return self.model_dump(exclude=set(self.parameters), exclude_defaults=True)

    @property
    def pairs(self) -> bool:
        """Whether the loss compares the embeddings of a batch, without class centres."""
        from vultus.losses import describe_loss

        return describe_loss(self.name).pairs


class OptimizerSection(_Section):
    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float | None = Field(None, ge=0, lt=1)
    """SGD only; 0.9 unless given."""
    weight_decay: float = Field(5e-4, ge=0)
    """Not applied to biases, norms and PReLU slopes."""
    clip_norm: float | None = Field(5.0, gt=0)
    """Largest norm of the gradient; null for no clipping."""
    clip: Literal["all", "network"] = "all"
    """Clip the gradient of network and centres together, or that of the network alone."""

    @model_validator(mode="after")
    def _only_what_works(self) -> OptimizerSection:
        if self.name == "adamw" and self.momentum is not None:
            raise ValueError("momentum has no effect with adamw; remove it")
        return self


class ScheduleSection(_Section):
    name: Literal["cosine", "polynomial", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly."""
    power: float | None = Field(None, gt=0)
    """Polynomial only; 2 unless given."""

    @model_validator(mode="after")
    def _only_what_works(self) -> ScheduleSection:
        if self.name != "polynomial" and self.power is not None:
            raise ValueError(f"power has no effect with {self.name}; remove it")
        return self


class TrainingSection(_Section):
    epochs: int | None = Field(None, ge=1)
    """Passes over the training data. Give this or `minutes`; 20 if neither."""
    minutes: float | None = Field(None, gt=0)
    """Length by time instead: the number of steps follows from the machine's pace, so such a run cannot be repeated
    step for step; one by `epochs` can."""
    batch_size: int = Field(128, ge=2)
    """Crops a step of the network; with accumulate=k the optimiser sees k times as many."""
    images_per_identity: int | None = Field(None, ge=1)
    """K images of each of batch_size / K identities in a batch, each identity equally often; 4 for the losses that
    compare pairs (triplet, contrastive), which need it; otherwise every image once an epoch."""
    accumulate: int = Field(1, ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    workers: int = Field(1, ge=0)
    """Processes that decode and augment."""
    evaluate_every: int | None = Field(None, ge=1)
    """Optimiser steps between validations; every epoch if not given."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> TrainingSection:
        if self.epochs is not None and self.minutes is not None:
            raise ValueError("give epochs or minutes, not both")
        return self


class Recipe(_Section):
    """Everything that decides a run. Class count, steps and colour order are read from the data and the model."""

    run: str
    """The run directory to make."""
    data: DataSection
    augment: AugmentSection = Field(default_factory=lambda: AugmentSection.model_validate({}))
    model: ModelSection = Field(default_factory=lambda: ModelSection.model_validate({}))
    loss: LossSection = Field(default_factory=lambda: LossSection.model_validate({}))
    optimizer: OptimizerSection = Field(default_factory=lambda: OptimizerSection.model_validate({}))
    schedule: ScheduleSection = Field(default_factory=lambda: ScheduleSection.model_validate({}))
    training: TrainingSection = Field(default_factory=lambda: TrainingSection.model_validate({}))

    @field_validator("loss", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _together(self) -> Recipe:
        loss, training, optimizer = self.loss, self.training, self.optimizer
        if loss.pairs and training.images_per_identity == 1:
            raise ValueError(
                f"loss {loss.name} compares images of one identity: training.images_per_identity must be 2+"
            )
        if loss.pairs and training.accumulate > 1:
            raise ValueError(f"loss {loss.name} compares images within a batch: training.accumulate does not widen it")
        if loss.update_in_backward:
            wrong = {
                "training.accumulate=1": training.accumulate > 1,
                "optimizer.name=sgd": optimizer.name != "sgd",
                "optimizer.clip=network or optimizer.clip_norm=null": bool(optimizer.clip_norm)
                and optimizer.clip == "all",
                "training.precision=fp32 or bf16 (fp16 scales gradients)": training.precision == "fp16",
            }
            if needed := [name for name, bad in wrong.items() if bad]:
                raise ValueError(f"loss.update_in_backward needs {'; '.join(needed)}")
        return self

    @field_validator("run")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("name a run directory")
        return value

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "recipe") -> Recipe:
        """Validate. Raises `VultusError` naming the key, what is wrong with it, and the nearest key for a typo."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise VultusError(f"{where}: {'; '.join(_explain(item) for item in error.errors()[:4])}") from None


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe and apply `key=value` overrides with dotted keys, as `optimizer.lr=0.05`.

    Raises:
        VultusError: no such file, no YAML, an override without `=`, an unknown or impossible key.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = Path(path)
    if not path.is_file():
        there = sorted(str(p) for p in Path("recipes").glob("*.yaml"))
        hint = f"; there are {', '.join(there)}" if there else ""
        raise VultusError(f"recipe {path} does not exist{hint}")
    for override in overrides:
        if "=" not in override:
            raise VultusError(f"{override!r} is no override; write key=value, as optimizer.lr=0.05")
    try:
        merged = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
        values = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise VultusError(f"recipe {path}: {str(error).splitlines()[0]}") from None
    except Exception as error:  # YAML's own errors
        raise VultusError(f"recipe {path} is no valid YAML: {' '.join(str(error).split())[:160]}") from None
    if not isinstance(values, dict):
        raise VultusError(f"recipe {path} must be a mapping of sections, as in recipes/quickstart.yaml")
    return Recipe.from_dict({str(key): value for key, value in values.items()}, f"recipe {path}")


def _explain(item: Any) -> str:
    """One pydantic error as words."""
    keys = [str(key) for key in item["loc"]]
    dotted = ".".join(keys) or "recipe"
    if item["type"] == "extra_forbidden":
        section: Any = Recipe
        for key in keys[:-1]:
            section = section.model_fields[key].annotation
        near = difflib.get_close_matches(keys[-1], section.model_fields, n=1, cutoff=0.5)
        prefix = ".".join([*keys[:-1], ""]) if len(keys) > 1 else ""
        hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(section.model_fields)}"
        return f"unknown key {dotted}; {hint}"
    if item["type"] == "missing":
        return f"{dotted} is missing; write it in the recipe or add {dotted}=VALUE"
    message = item["msg"].removeprefix("Value error, ")
    return f"{dotted}: {message}" + ("" if isinstance(item.get("input"), dict) else f", not {item.get('input')!r}")
