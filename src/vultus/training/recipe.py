"""The recipe: what a person decides about a training run, and nothing that the data or the model knows itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from vultus.errors import VultusError
from vultus.files import is_file, parsing
from vultus.formats import read_text
from vultus.training.recipe_sections import (
    AugmentSection,
    DataSection,
    FinetuneSection,
    LossSection,
    ModelSection,
    OptimizerSection,
    ScheduleSection,
    Section,
    TrainingSection,
)

MOST_RECIPE = 2**16
"""Bytes of a recipe."""
MOST_DEPTH = 20
"""Mappings and lists within one another in a recipe."""


class Recipe(Section):
    """Everything that decides a run. Class count, steps and colour order are read from the data and the model."""

    run: str
    """The run directory to make."""
    data: DataSection
    augment: AugmentSection = Field(default_factory=lambda: AugmentSection.model_validate({}))
    model: ModelSection = Field(default_factory=lambda: ModelSection.model_validate({}))
    finetune: FinetuneSection | None = None
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
        if self.finetune is not None:
            self._check_finetune(self.finetune)
        return self

    def _check_finetune(self, section: FinetuneSection) -> None:
        if self.model.weights is None:
            raise ValueError("finetune has no effect without model.weights; name what to fine-tune, or remove finetune")
        if self.loss.pairs and (section.centers is not None or section.keep_centers):
            key = "finetune.keep_centers" if section.keep_centers else "finetune.centers"
            raise ValueError(f"loss {self.loss.name} has no class centres; remove {key}")
        if section.keep_centers and self.loss.update_in_backward:
            raise ValueError("loss.update_in_backward moves every centre; leave it or finetune.keep_centers out")

    @property
    def tuning(self) -> FinetuneSection | None:
        """How to fine-tune: the section given, its defaults where only `model.weights` is; None from scratch."""
        if self.model.weights is None:
            return None
        return self.finetune or FinetuneSection.model_validate({})

    @field_validator("run")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("name a run directory")
        return value

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "recipe") -> Recipe:
        """Validate. Raises `VultusError` naming the key, what is wrong with it, and the nearest key for a typo.

        Code: interpolation for a value with `${...}`, which could bring the environment into what a run keeps.
        """
        if key := _interpolated(values):
            raise VultusError(f"{where}: {key} holds ${{...}}; write the value itself", code="interpolation", key=key)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise VultusError(f"{where}: {'; '.join(_explain(item) for item in error.errors()[:4])}") from None


def load_recipe(
    path: str | Path | dict[str, Any], overrides: Sequence[str] = (), given: dict[str, Any] | None = None
) -> Recipe:
    """Read a YAML recipe (or take its values) and apply `key=value` overrides with dotted keys, as `optimizer.lr=0.05`.

    given: values, by section, that stand above the recipe's and below the overrides.

    Raises:
        VultusError: no such file, no YAML, an override without `=`, an unknown or impossible key.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    where = "recipe" if isinstance(path, dict) else f"recipe {path}"
    if not isinstance(path, dict) and not is_file(path):
        there = sorted(str(p) for p in Path("recipes").glob("*.yaml"))
        hint = f"; there are {', '.join(there)}" if there else ""
        raise VultusError(f"{where} does not exist{hint}")
    values = path if isinstance(path, dict) else read_yaml(path)
    for override in overrides:
        if "=" not in override:
            raise VultusError(f"{override!r} is no override; write key=value, as optimizer.lr=0.05")
    try:
        changes = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)), resolve=False)
        for part in (values, given or {}, changes):  # before they are merged, which would look values up
            if key := _interpolated(part):
                told = f"{where}: {key} holds ${{...}}; write the value itself"
                raise VultusError(told, code="interpolation", key=key)
        values = OmegaConf.to_container(OmegaConf.merge(values, given or {}, changes))
    except OmegaConfBaseException as error:
        raise VultusError(f"{where}: {str(error).splitlines()[0]}") from None
    except VultusError:
        raise
    except Exception as error:  # YAML's own errors
        raise VultusError(f"{where} is no valid YAML: {' '.join(str(error).split())[:160]}") from None
    assert isinstance(values, dict)
    return Recipe.from_dict({str(key): value for key, value in values.items()}, where)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds, plain values only. No aliases: a few lines of them make any amount of data.

    Codes: those of `read_file`, and malformed.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    text = read_text(path, MOST_RECIPE, "the recipe")
    with parsing(path, "recipe in YAML", "see recipes/quickstart.yaml"):
        try:
            depth = 0
            for event in yaml.parse(text):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > MOST_DEPTH or isinstance(event, yaml.AliasEvent):
                    raise ValueError("aliases and deep nesting are not read")
            values = OmegaConf.to_container(OmegaConf.create(text))  # reads 1e-3 as a number, as yaml.load does not
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise ValueError(str(error)) from None
        if not isinstance(values, dict):
            raise ValueError("no mapping of sections")
        return {str(key): value for key, value in values.items()}


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one dictionary by dotted key, {"optimizer.lr": 0.1}; an empty section gives none."""
    flat = {}
    for key, value in values.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _interpolated(value: Any, key: str = "") -> str | None:
    """The dotted key of the first text with an interpolation, itself one or below `value`."""
    if isinstance(value, dict):
        inner = [(f"{key}.{name}".lstrip("."), part) for name, item in value.items() for part in (str(name), item)]
    elif isinstance(value, list | tuple):
        inner = [(f"{key}[{number}]", item) for number, item in enumerate(value)]
    else:
        return key if isinstance(value, str) and "${" in value else None
    return next((found for name, item in inner if (found := _interpolated(item, name))), None)


def _explain(item: Any) -> str:
    """One pydantic error as words."""
    keys = [str(key) for key in item["loc"]]
    dotted = ".".join(keys) or "recipe"
    if item["type"] == "extra_forbidden":
        section: Any = Recipe
        for key in keys[:-1]:
            section = section.model_fields[key].annotation
            section = next((kind for kind in get_args(section) if kind is not type(None)), section)
        near = difflib.get_close_matches(keys[-1], section.model_fields, n=1, cutoff=0.5)
        prefix = ".".join([*keys[:-1], ""]) if len(keys) > 1 else ""
        hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(section.model_fields)}"
        return f"unknown key {dotted}; {hint}"
    if item["type"] == "missing":
        return f"{dotted} is missing; write it in the recipe or add {dotted}=VALUE"
    message = item["msg"].removeprefix("Value error, ")
    return f"{dotted}: {message}" + ("" if isinstance(item.get("input"), dict) else f", not {item.get('input')!r}")
