"""Tensors out of a file of weights: torch's zip format by `weights_only`, or safetensors. Nothing in it can execute."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vultus.errors import FileError, VultusError
from vultus.files import MOST_WEIGHTS, check_file


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, and where in it they were."""

    tensors: dict[str, Tensor]
    inside: str
    """Key of the mapping that held them, as "net_state_dict"; empty where the file is the mapping itself."""
    beside: tuple[str, ...]
    """Other keys of the file (epoch, optimizer, ...), not read."""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The largest mapping of names to tensors in the file, on the CPU.

    Raises:
        VultusError: no such file, a truncated one, a pickle that wants to run code, TorchScript, or no tensors in it.
    """
    path = Path(path)
    check_file(path, MOST_WEIGHTS, "the weights file")
    content = _safetensors(path) if path.suffix.lower() == ".safetensors" else _torch(path)
    found = [(inside, mapping) for inside, mapping in _mappings(content) if any(map(torch.is_tensor, mapping.values()))]
    if not found:
        keys = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else type(content).__name__
        raise VultusError(f"{path} holds no state dict (names to tensors); it holds {keys}")
    inside, mapping = max(found, key=lambda item: sum(torch.is_tensor(v) for v in item[1].values()))
    beside = [str(key) for key in content if isinstance(content, Mapping) and inside and key != inside.split(".")[0]]
    return Checkpoint({str(k): v for k, v in mapping.items() if torch.is_tensor(v)}, inside, tuple(beside))


def _mappings(content: Any, inside: str = "", depth: int = 2) -> list[tuple[str, Mapping[Any, Any]]]:
    """The mapping itself and those within it, as {"state_dict": {...}} or {"model": {"state_dict": {...}}}."""
    if not isinstance(content, Mapping):
        return []
    found: list[tuple[str, Mapping[Any, Any]]] = [(inside, content)]
    if depth:
        for key, value in content.items():
            found += _mappings(value, f"{inside}.{key}".lstrip("."), depth - 1)
    return found


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError, MemoryError, RuntimeError, TypeError, KeyError) as error:
        told = f"{path} is truncated or no safetensors file ({_short(error)})"
        raise FileError(told, code="malformed", path=path) from None


def _torch(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                if sum(member.file_size for member in packed.infolist()) > MOST_WEIGHTS:
                    raise ValueError("it unpacks to more than a file of weights may have")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FileError(f"{path} {_reason(path, str(error))}", code="malformed", path=path) from None
    return content.state_dict() if isinstance(content, torch.nn.Module) else content


def _reason(path: Path, message: str) -> str:
    if "TorchScript" in message or "torch.jit" in message:
        return "is a TorchScript program; save the state dict of the network instead, or export it to ONNX"
    if wanted := re.search(
        r"(?:GLOBAL|global|Unsupported class|WeightsUnpickler error:.*?) ?`?([\w]+(?:\.[\w]+)+)`?", message
    ):
        return (
            f"is a pickle that wants {wanted[1]} and could run code, so it was not opened; save its state dict alone: "
            "torch.save(network.state_dict(), FILE)"
        )
    if path.stat().st_size == 0:
        return "is empty"
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        return f"is truncated or damaged ({_short(message)}); copy or download it again"
    if start[:1] == b"\x80" and "Unsupported" in message:
        return "is a pickle that wants more than tensors, so it was not opened; save its state dict alone"
    return "is no file of weights, or a truncated one"


def _short(error: object) -> str:
    return " ".join(str(error).split())[:120]
