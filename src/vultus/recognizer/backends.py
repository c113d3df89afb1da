"""What runs the network: onnxruntime, OpenVINO or torch, behind one call that any number of threads may make."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import onnx

from vultus.errors import ContractError, VultusError
from vultus.recognizer.optimise import optimise

if TYPE_CHECKING:
    import torch

BackendName = Literal["auto", "onnxruntime", "openvino", "torch"]


class Backend(Protocol):
    """A loaded network. Safe to call from several threads at once."""

    name: str

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Raw embeddings (B, dim) float32 of normalised pixels (B, 3, h, w) float32, C-contiguous."""
        ...


def open_backend(
    model: onnx.ModelProto,
    backend: BackendName = "auto",
    *,
    threads: int | None = None,
    precision: str = "float32",
) -> Backend:
    """Load `model`, whose contract names `precision`, with a runtime.

    "auto" is onnxruntime; OpenVINO for bfloat16, and for int8 where it is installed.

    Raises:
        VultusError: an unknown runtime, one that is not installed, or bfloat16 from a runtime that lacks it.
        ContractError: the runtime cannot load the network.
    """
    if backend not in get_args(BackendName):
        raise VultusError(f"no backend is called {backend!r}; choose one of {', '.join(get_args(BackendName))}")
    if backend == "torch":
        raise VultusError("the backend 'torch' runs torch networks, not ONNX; choose onnxruntime or openvino")
    bfloat16 = precision == "bfloat16"
    if backend == "auto":
        quantised = precision == "int8" and importlib.util.find_spec("openvino") is not None
        backend = "openvino" if bfloat16 or quantised else "onnxruntime"
    if backend == "openvino":
        return OpenVinoBackend(model, threads=threads, bfloat16=bfloat16)
    if bfloat16:
        raise VultusError("onnxruntime has no bfloat16 on CPUs; use the backend openvino, or another precision")
    return OnnxRuntimeBackend(model, threads=threads)


class OnnxRuntimeBackend:
    """onnxruntime on the CPU. One session serves all threads."""

    name = "onnxruntime"

    def __init__(self, model: onnx.ModelProto, *, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Threads that spin for the next run take the cores from whatever runs between two: the detector, other threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = optimise(model).SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ContractError(f"onnxruntime cannot load the network: {_first_line(error)}") from None
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def run(self, pixels: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run([self._output], {self._input: pixels})[0], np.float32)


def computes_bfloat16() -> bool:
    """Whether this processor has bfloat16; OpenVINO computes in float32 where it has not."""
    return "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoBackend:
    """OpenVINO on the CPU, from ONNX or from an IR file (.xml with its .bin)."""

    name = "openvino"

    def __init__(self, model: onnx.ModelProto | Path, *, threads: int | None = None, bfloat16: bool = False) -> None:
        core = _openvino().Core()
        settings: dict[str, Any] = {
            # OpenVINO's own default is bfloat16 wherever the CPU has it: that would be another contract.
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 and computes_bfloat16() else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            read = core.read_model(model if isinstance(model, Path) else model.SerializeToString())
            self._compiled = core.compile_model(read, "CPU", settings)
        except Exception as error:
            raise ContractError(f"OpenVINO cannot load the network: {_first_line(error)}") from None
        self._local = threading.local()

    def run(self, pixels: np.ndarray) -> np.ndarray:
        request = getattr(self._local, "request", None)
        if request is None:  # a request belongs to one thread
            request = self._local.request = self._compiled.create_infer_request()
        return np.array(next(iter(request.infer([pixels], share_inputs=True).values())), np.float32)


class TorchBackend:
    """A torch network kept in memory, on the device where it is."""

    name = "torch"

    def __init__(self, network: torch.nn.Module) -> None:
        import torch

        self._network = network.eval()
        parameter = next(network.parameters(), None)
        self._device = parameter.device if parameter is not None else torch.device("cpu")

    def run(self, pixels: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self._device).contiguous(memory_format=torch.channels_last)
            return self._network(batch).float().cpu().numpy()


def _openvino() -> Any:
    import openvino

    return openvino


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
