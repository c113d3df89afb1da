"""Crop -> embedding: trainable backbones behind one call."""

from __future__ import annotations

from vultus.models.registry import create_model, list_models, resolve

__all__ = ["create_model", "list_models", "resolve"]
