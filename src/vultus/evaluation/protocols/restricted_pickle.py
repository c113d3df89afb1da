"""Read a pickle of plain values and uint8 arrays, and nothing else.

A pickle is a program for a small stack machine, and it can call anything it can name. Here it can name nothing: the few
names that an array is pickled with stand for objects of this module, everything else is refused. Before that the
program is read without running it: an instruction that plain values do not need, or a claim of more memory than the
file is long, is refused as well.
"""

from __future__ import annotations

import io
import itertools
import pickle
import pickletools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from vultus.errors import VultusError

_OPCODES = frozenset(
    """
    PROTO FRAME MARK STOP POP POP_MARK MEMOIZE NONE NEWTRUE NEWFALSE
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    INT BININT BININT1 BININT2 LONG1
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE
    BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
    """.split()  # noqa: SIM905
)
"""Instructions that lists, tuples, numbers, text, bytes and arrays are made of."""

_BY_CODE = {opcode.code: opcode for opcode in pickletools.opcodes}

DEPTH = 3
"""How deep lists and tuples may lie in one another; an image list needs two."""

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_MODULES = ("numpy.core.numeric", "numpy._core.numeric")
_DTYPES = {"u1": np.uint8, "b1": np.bool_, "i4": np.int32, "i8": np.int64}


def load_plain(content: bytes, name: str) -> Any:
    """The value in a pickle of tuples, lists, bytes, text, whole numbers, booleans and arrays of these.

    Text of Python 2 comes as bytes. Arrays are uint8, bool, int32 or int64. Nothing of the pickle is run.
    Raises VultusError, naming `name`, for anything else and for a file that is cut off.
    """
    try:
        _check(content)
        machine = _Restricted(content)
        return machine.plain(machine.load())
    except _Refused as refusal:
        raise VultusError(f"{name} is refused: {refusal}; only lists of encoded images are read") from None
    except Exception as error:  # a damaged pickle can make the machine fail in any way
        reason = str(error).split("\n")[0][:120]
        raise VultusError(
            f"{name} is no pickle that can be read, or is cut off ({reason}); get the file again"
        ) from None


class _Refused(Exception):
    """The pickle asks for what no image list needs."""


def _check(content: bytes) -> None:
    """Walk over the instructions without running them, as `pickletools.genops` does; that one fails on the escaped
    bytes of Python 2's protocol 0. The readers themselves check that arguments lie inside the file."""
    stream = io.BytesIO(content)
    for count in itertools.count():
        opcode = _BY_CODE.get(stream.read(1).decode("latin1"))
        if opcode is None:
            raise _Refused("it does not end as a pickle does")
        if opcode.name not in _OPCODES:
            raise _Refused(f"it holds the instruction {opcode.name}")
        argument = None
        if opcode.name == "STRING":
            stream.readline()
        elif opcode.arg is not None:
            argument = opcode.arg.reader(stream)
        # The machine's memo is an array as long as the largest number it was asked to keep.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            wanted = int(argument or 0)
            if not 0 <= wanted <= 2 * count + 256:
                raise _Refused(f"it wants a memo of {wanted:,} entries")
        if opcode.name == "STOP":
            return


class _Restricted(pickle.Unpickler):
    """The stack machine, with stand-ins for names and a budget: a value can be repeated, so a small file can ask for
    far more than it holds."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._budget = len(content)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name in _ARRAY_MODULES and global_name in ("_reconstruct", "scalar"):
            return _Call(_empty if global_name == "_reconstruct" else _scalar)
        if module_name in _NUMERIC_MODULES and global_name == "_frombuffer":
            return _Call(_from_buffer)
        if (module_name, global_name) == ("numpy", "ndarray"):
            return _Call(_no_call)
        if (module_name, global_name) == ("numpy", "dtype"):
            return _Call(_Dtype)
        if (module_name, global_name) == ("_codecs", "encode"):
            return _Call(self._encode)
        raise _Refused(f"it names {module_name}.{global_name}")

    def plain(self, value: Any, depth: int = 0) -> Any:
        """The value with arrays in the place of what stood for them."""
        self._spend(1)
        if isinstance(value, _Array) and value.values is not None:
            return value.values
        if isinstance(value, list | tuple):
            if depth == DEPTH:
                raise _Refused(f"lists lie more than {DEPTH} deep in one another")
            return type(value)(self.plain(item, depth + 1) for item in value)
        if value is None or isinstance(value, bytes | bytearray | str | bool | int):
            return value
        raise _Refused("it holds a name where a value should be")

    def _encode(self, text: object, encoding: object = "latin1") -> bytes:
        """How Python 3 writes bytes in the older protocols."""
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise _Refused("it encodes something else than bytes")
        self._spend(len(text))
        return text.encode("latin1")

    def _spend(self, amount: int) -> None:
        self._budget -= amount
        if self._budget < 0:
            raise _Refused("it repeats its values to more than it is long")

    def persistent_load(self, pid: Any, /) -> Any:
        raise _Refused("it names a persistent object")


class _Call:
    """Stands for a name of the pickle. It can be called and has no state that a pickle could overwrite."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __setstate__(self, state: object) -> None:
        raise _Refused("it changes a name")

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _Dtype:
    """The type of an array's elements, as `numpy.dtype` is pickled: name, then a state that is only checked."""

    __slots__ = ("type",)

    def __init__(self, name: object, *_: object) -> None:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
        self.type = _DTYPES.get(text.lstrip("|<"))
        if self.type is None:
            raise _Refused(f"it holds an array of the type {text[:20]!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|", b"<", b"|") or any(part is not None for part in state[2:5]):
            raise _Refused("it holds an array of structures or of big-endian numbers")


class _Array:
    """Becomes an array when its state (version, shape, dtype, is_fortran, bytes) comes."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, content = state
        self.values = _from_buffer(content, dtype, shape).values


def _empty(*_: object) -> _Array:
    return _Array()


def _from_buffer(content: object, dtype: object, shape: object, order: object = "C") -> _Array:
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise _Refused("it holds an array that is not made of bytes")
    if prod(shape) * np.dtype(dtype.type).itemsize != len(content) or min(shape, default=0) < 0:
        raise _Refused(f"it holds {len(content):,} bytes for an array of the shape {str(shape)[:40]}")
    return _Array(np.frombuffer(content, dtype.type).reshape(shape))


def _scalar(dtype: object, content: object) -> Any:
    values = _from_buffer(content, dtype, (1,)).values
    assert values is not None
    return values[0].item()


def _no_call(*_: object) -> Any:
    raise _Refused("it makes an array without its bytes")
