"""The sections of a recipe: what a person decides about data, model, loss and training, key by key."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


class DataSection(Section):
    train: str
    """Dataset or split to train on: DATA or DATA/SPLIT."""
    validation: str | None = None
    """Split for choosing the best checkpoint; by default the split `val` beside the training split, if there is one."""
    min_images: int = Field(1, ge=1)
    """Leave out training identities with fewer images."""


class AugmentSection(Section):
    """Probabilities of `data.Augmentation`."""

    flip: float = Field(0.5, ge=0, le=1)
    shift: float = Field(0.0, ge=0, le=1)
    crop: float = Field(0.0, ge=0, le=1)
    low_resolution: float = Field(0.0, ge=0, le=1)
    blur: float = Field(0.0, ge=0, le=1)
    color: float = Field(0.0, ge=0, le=1)
    grey: float = Field(0.0, ge=0, le=1)
    erase: float = Field(0.0, ge=0, le=1)
    mask: float = Field(0.0, ge=0, le=1)
    low_quality: float = Field(0.0, ge=0, le=1)


class ModelSection(Section):
    """A network from scratch, by name, or one to fine-tune, by `weights`."""

    weights: str | None = None
    """What to fine-tune: a run directory, a name of `vultus models list`, or a file of weights. Architecture, dimension
    and colour order then come from there."""
    name: str = "mobilefacenet"
    """A name of `vultus models list --backbones`."""
    embedding_dim: int = Field(512, ge=2)
    pretrained: bool = False
    """Start from timm's published weights (timm/ backbones, needs the network)."""
    options: dict[str, Any] = {}
    """Further arguments of the model, for example dropout."""

    @model_validator(mode="after")
    def _one_origin(self) -> ModelSection:
        if self.weights is not None and (given := sorted(self.model_fields_set - {"weights"})):
            keys = ", ".join(f"model.{name}" for name in given)
            raise ValueError(f"model.weights already decides the network; remove {keys}")
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = dump(self)
        return fields if self.weights is None else {"weights": self.weights}


class FinetuneSection(Section):
    """How a network that already works is trained on. Only with `model.weights`."""

    freeze: str | None = None
    """A part of the network (stem, stage1, ...): it and all before it stay as they are, statistics included."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Each part's learning rate is that of the part after it times this; the last part, and the class centres, have the
    full rate (Howard & Ruder 2018, arXiv 1801.06146; Clark et al. 2020, 2003.10555)."""
    freeze_norm: bool | None = None
    """Batch-norm layers, where the network has any, keep the original's statistics; their scale and shift still train.
    True unless given: the batches of a small dataset make poor statistics."""
    lora_rank: int | None = Field(None, ge=1)
    """Train only low-rank changes of linear layers and 1x1 convolutions (LoRA, Hu et al. 2021, arXiv 2106.09685); all
    else stays as it is, batch-norm statistics included."""
    lora_alpha: float | None = Field(None, gt=0)
    """The change is scaled by lora_alpha / lora_rank; lora_rank unless given."""
    centers: Literal["mean", "random"] | None = None
    """Class centres at the start: the mean embedding of each identity by the original network (default), or random."""
    keep_centers: bool = False
    """With model.weights = RUN: identities that RUN knows by name keep its centres, unchanged through the training. Its
    identities that this data lacks stay as fixed negatives."""
    distill: float = Field(0.0, ge=0)
    """Weight of mean(1 - cos) between the embedding of an augmented crop and the original network's embedding of the
    crop as it is, so that an enrolled gallery stays comparable."""
    loss_weight: float = Field(1.0, ge=0)
    """Weight of the recipe's loss beside it; 0 learns from the original network alone, and needs no identities."""

    blend: float = Field(1.0, gt=0, le=1)
    """Share of the trained weights in those that are validated and kept; the rest is the original's. Below 1, old
    conditions keep more of their accuracy and new ones gain a little less (WiSE-FT, arXiv 2109.01903)."""

    @model_validator(mode="after")
    def _only_what_works(self) -> FinetuneSection:
        if self.lora_rank is not None and self.blend < 1:
            raise ValueError("blend below 1 with lora_rank: set blend=1 and lower lora_alpha, which does the same")
        if not self.loss_weight and not self.distill:
            raise ValueError("loss_weight=0 leaves nothing to learn from; set distill, or remove loss_weight")
        if not self.loss_weight and (self.keep_centers or self.centers is not None):
            raise ValueError(
                "loss_weight=0 trains no class centres; set loss_weight=1, or leave centers, keep_centers out"
            )
        if self.lora_rank is None and self.lora_alpha is not None:
            raise ValueError("lora_alpha has no effect without lora_rank; remove it, or add lora_rank")
        if self.lora_rank is not None and self.freeze_norm is not None:
            raise ValueError("freeze_norm has no effect with lora_rank, which keeps all statistics; remove freeze_norm")
        return self


class LossSection(Section):
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


class OptimizerSection(Section):
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


class ScheduleSection(Section):
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


class TrainingSection(Section):
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
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, as 0.999; the average is what is validated and kept."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many validations in a row without a better one."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> TrainingSection:
        if self.epochs is not None and self.minutes is not None:
            raise ValueError("give epochs or minutes, not both")
        return self
