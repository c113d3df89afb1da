"""Crop -> embedding: trainable backbones behind one call."""

from __future__ import annotations

from vultus.models.describe import ModelInfo, describe_model
from vultus.models.registry import create_model, list_models, resolve

__all__ = ["ModelInfo", "create_model", "describe_model", "list_models", "resolve"]
