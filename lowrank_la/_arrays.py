"""The one door for arrays: nothing else in the library imports an array library by name.

A public function opens a `Door` for its inputs. Inside, arrays are NumPy or CuPy
arrays (which compiled kernels read) or belong to another array-API namespace (which
takes the reference path). Answers leave through the same door, with the namespace,
device and floating dtype that came in. PyTorch tensors enter and leave without a copy.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import array_api_compat as compat
import numpy as np

Array: TypeAlias = Any  # an array of any namespace of the array API
Namespace: TypeAlias = types.ModuleType

_NUMPY = compat.array_namespace(np.empty(0))
_BLOCK_BYTES = 1 << 25  # a row block of 32 MiB streams at full speed and stays small


@functools.cache
def have_gpu() -> bool:
    """Say whether CuPy is installed and sees a device."""
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.cuda.is_available())


def namespace(*arrays: Array) -> Namespace:
    """Return the array-API namespace that all the arrays share."""
    if len(arrays) == 1 and type(arrays[0]) is np.ndarray:  # in a tenth of the time, which loops over small arrays notice
        return _NUMPY
    return compat.array_namespace(*arrays)


def engine_of(array: Array) -> str:
    """Name the kernel engine for an array: "cpu", "cuda" or "reference"."""
    if compat.is_numpy_array(array):
        return "cpu"
    return "cuda" if compat.is_cupy_array(array) else "reference"


def is_array(x: object) -> bool:
    """Say whether x is a dense array of some array-API namespace."""
    return compat.is_array_api_obj(x) and not is_sparse(x)


def is_sparse(x: object) -> bool:
    """Say whether x is a SciPy or CuPy sparse matrix or array."""
    return hasattr(x, "tocsr") and hasattr(x, "nnz")


def is_operator(x: object) -> bool:
    """Say whether x is a linear operator: matmat and rmatmat instead of entries."""
    return hasattr(x, "matmat") and hasattr(x, "rmatmat") and not is_sparse(x)


def is_row_blocks(x: object) -> bool:
    """Say whether x yields blocks of rows: a callable, or an iterable that is no array or list of numbers."""
    if is_array(x) or is_sparse(x) or is_operator(x) or isinstance(x, str | bytes):
        return False
    if isinstance(x, list | tuple):
        return len(x) > 0 and all(is_array(part) or is_sparse(part) for part in x)
    return callable(x) or isinstance(x, Iterable)


def is_table(x: object) -> bool:
    """Say whether a list of arrays is a list of rows, and not of row blocks."""
    return isinstance(x, list | tuple) and all(is_array(row) and row.ndim < 2 for row in x)


@dataclass(frozen=True)
class Door:
    """How arrays come in and answers go out.

    Attributes
    ----------
    xp : module
        Namespace of the arrays inside.
    dtype : dtype of `xp`
        Floating dtype to work in: that of the input, float32 for half precision.
    leave : callable
        Turns an array from inside into one of the caller's kind.
    leave_wide : callable
        The same for figures that keep the dtype they have, such as float64 sums over rows.
    """

    xp: Namespace
    dtype: Any
    leave: Callable[[Array], Array]
    leave_wide: Callable[[Array], Array]

    @property
    def real_dtype(self) -> Any:
        """Dtype of absolute values."""
        return real_dtype(self.xp, self.dtype)


def enter(function: str, **arrays: Array) -> tuple[Door, list[Array]]:
    """Open the door for the named arguments; sparse matrices pass as they are, and None for all but the first.

    The first argument decides the floating dtype; the others are cast to it.

    Raises
    ------
    TypeError
        An argument is no array, belongs to another library than the first one, or is
        a tensor that requires gradients.
    """
    required = next(iter(arrays))
    given = {name: _as_array(function, name, x) for name, x in arrays.items() if x is not None or name == required}
    dense = {name: x for name, x in given.items() if not is_sparse(x)}
    try:
        outside = compat.array_namespace(*dense.values() or map(_stored, given.values()))
    except TypeError:
        kinds = ", ".join(f"{name} is a {type(x).__module__.split('.')[0]} array" for name, x in dense.items())
        raise TypeError(f"{function}: arrays must belong to one library; {kinds}") from None
    out_dtype = _floating(outside, given[required].dtype)
    inside = {name: x if is_sparse(x) else _step_in(function, name, x) for name, x in given.items()}
    xp = compat.array_namespace(*[x for x in inside.values() if not is_sparse(x)] or map(_stored, inside.values()))
    dtype = _working_dtype(xp, out_dtype)
    inside = {name: _cast(xp, x, dtype) for name, x in inside.items()}
    door = Door(xp, dtype, functools.partial(_step_out, outside, out_dtype), functools.partial(_hand_out, outside))
    return door, [inside.get(name) for name in arrays]


def _stored(matrix: Any) -> Array:
    """Give the stored entries of a sparse matrix, or an empty NumPy array where the format has no array of them."""
    data = getattr(matrix, "data", None)
    return data if is_array(data) else np.empty(0)


def beside(function: str, name: str, x: Array, like: Array) -> Array:
    """Bring an array inside with the dtype it has, to the namespace and device of an array that has entered.

    Raises
    ------
    TypeError
        x belongs to another library.
    """
    x = _step_in(function, name, _as_array(function, name, x))
    if isinstance(x, np.ndarray):
        return from_numpy(x, like)
    if compat.array_namespace(x) is not namespace(like):
        raise TypeError(f"{function}: arrays must belong to one library; {name} is a {type(x).__module__.split('.')[0]} array")
    return x


def on_host(function: str, name: str, x: Array) -> np.ndarray:
    """Bring an array of numbers of any library to the host, with the dtype it has.

    Raises
    ------
    TypeError
        x is no dense array of numbers.
    """
    x = _as_array(function, name, to_numpy(x) if is_array(x) else x)
    if is_sparse(x):
        raise TypeError(f"{function}: {name} must be a dense array; got {type(x).__name__}")
    return x


def bfloat16_words(x: Any) -> np.ndarray | None:
    """View the memory of a bfloat16 tensor on the CPU as uint16 words; None for anything else."""
    if not compat.is_torch_array(x) or _dtype_name(x.dtype) != "bfloat16" or x.device.type != "cpu" or x.requires_grad:
        return None
    return x.view(compat.array_namespace(x).uint16).numpy()


def _as_array(function: str, name: str, x: Array) -> Array:
    if is_sparse(x) or (is_array(x) and not isinstance(x, np.ndarray)):
        return x
    try:
        array = x if isinstance(x, np.ndarray) else np.asarray(x)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biufc":
        of = f" of dtype {array.dtype}" if array is x else ""
        raise TypeError(f"{function}: {name} must be an array of numbers; got {type(x).__name__}{of}")
    return array


def wants_gradients(*inputs: Any) -> bool:
    """Say whether one of the inputs, or of the members of a tuple, is a tensor that requires gradients."""
    flat = (x for given in inputs for x in (given if isinstance(given, tuple) else (given,)))
    return any(compat.is_torch_array(x) and x.requires_grad for x in flat)


def detached(x: Any) -> Any:
    """Return tensors, and those in a tuple, without their history, and all else as it is."""
    if isinstance(x, tuple):
        return tuple(detached(part) for part in x)
    return x.detach() if compat.is_torch_array(x) else x


def _step_in(function: str, name: str, x: Array) -> Array:
    if not compat.is_torch_array(x):
        return x
    if x.requires_grad:
        raise TypeError(f"{function}: {name} must not require gradients, which this function cannot give; pass {name}.detach()")
    if _dtype_name(x.dtype) == "bfloat16":
        x = x.float()
    if x.device.type == "cpu":
        return x.resolve_conj().resolve_neg().numpy()
    import cupy

    return cupy.from_dlpack(x)


def _step_out(outside: Namespace, dtype: Any, x: Array) -> Array:
    """Hand an array to the caller; floating values return to the caller's dtype."""
    x = _hand_out(outside, x)
    if not outside.isdtype(x.dtype, ("real floating", "complex floating")):
        return x
    if outside.isdtype(x.dtype, "real floating") and outside.isdtype(dtype, "complex floating"):
        dtype = real_dtype(outside, dtype)
    return outside.astype(x, dtype, copy=False)


def _hand_out(outside: Namespace, x: Array) -> Array:
    if compat.is_torch_namespace(outside):
        return outside.from_numpy(x) if isinstance(x, np.ndarray) else outside.from_dlpack(x)
    return x


def _floating(xp: Namespace, dtype: Any) -> Any:
    """Return the dtype of `xp` for answers: the given one, of `xp` or of NumPy, or the default float for integers and bools."""
    name = _dtype_name(dtype)
    if name == "bool" or "int" in name:
        return xp.__array_namespace_info__().default_dtypes()["real floating"]
    return getattr(xp, name)


def _working_dtype(xp: Namespace, dtype: Any) -> Any:
    name = _dtype_name(dtype)
    return getattr(xp, name if name in ("float32", "float64", "complex64", "complex128") else "float32")


def _dtype_name(dtype: Any) -> str:
    return np.dtype(dtype).name if isinstance(dtype, type | np.dtype) else str(dtype).split(".")[-1]


def _cast(xp: Namespace, x: Array, dtype: Any) -> Array:
    if is_sparse(x):
        return x.astype(dtype, copy=False)
    if xp.isdtype(x.dtype, "complex floating") and not xp.isdtype(dtype, "complex floating"):
        return x  # the check that refuses or promotes it is the caller's
    return xp.astype(x, dtype, copy=False)


def real_dtype(xp: Namespace, dtype: Any) -> Any:
    """Return the dtype of the absolute values of `dtype`."""
    if dtype == xp.complex64:
        return xp.float32
    return xp.float64 if dtype == xp.complex128 else dtype


def unit_roundoff(xp: Namespace, dtype: Any) -> float:
    """Return u, half the distance from 1 to the next number of the dtype."""
    return float(xp.finfo(dtype).eps) / 2


def to_numpy(x: Array) -> np.ndarray:
    """Bring a small array of any namespace to the host."""
    if compat.is_cupy_array(x):
        return x.get()
    if compat.is_torch_array(x):
        return x.detach().cpu().numpy()
    try:
        return np.asarray(x)
    except (TypeError, RuntimeError):  # array-api-strict on a device that is not the CPU
        return np.asarray(x.to_device(namespace(x).Device("CPU_DEVICE")))


def from_numpy(x: np.ndarray, like: Array) -> Array:
    """Bring a host array to the namespace and device of `like`, keeping its dtype."""
    if isinstance(like, np.ndarray):
        return x
    xp = namespace(like)
    return xp.asarray(x, device=compat.device(like))


def solve_triangular(R: Array, B: Array, *, adjoint: bool = False) -> Array:
    """Solve R X = B, or R^H X = B, for an upper triangular R."""
    xp = namespace(R, B)
    if compat.is_numpy_array(R):
        from scipy.linalg import solve_triangular as solve

        return solve(R, B, trans=2 if adjoint else 0, check_finite=False)
    if compat.is_cupy_array(R):
        from cupyx.scipy.linalg import solve_triangular as solve

        return solve(R, B, trans=2 if adjoint else 0, check_finite=False)
    return xp.linalg.solve(adjoint_of(xp, R) if adjoint else R, B)


def adjoint_of(xp: Namespace, A: Array) -> Array:
    """Return A^H; for real A, a view of the transpose."""
    transpose = xp.matrix_transpose(A)
    return xp.conj(transpose) if is_complex(A) else transpose


def along_memory(A: Array) -> Array:
    """Return A or its transpose, whichever has contiguous rows: for sums over all entries, which would copy the other one."""
    return A.T if isinstance(A, np.ndarray) and A.flags.f_contiguous else A


def row_blocks(A: Array, height: int | None = None) -> Iterator[tuple[int, Array]]:
    """Yield (first row, block) over the rows of a dense or sparse matrix, or of an iterable of blocks.

    Each block of an array is a view of about 32 MiB, or of `height` rows.
    """
    if is_row_blocks(A):
        offset = 0
        blocks: Any = A() if callable(A) else A
        for block in blocks:
            yield offset, block
            offset += block.shape[0]
        return
    if height is None:
        height = max(1, _BLOCK_BYTES // max(1, 8 * math.prod(A.shape[1:])))
    if is_sparse(A):
        A = A.tocsr()
    for offset in range(0, A.shape[0], height):
        yield offset, A[offset : min(offset + height, A.shape[0]), ...] if not is_sparse(A) else A[offset : offset + height]


def triangular_factor(Y: Array) -> Array:
    """Return R of the QR factorisation of Y, without Q where the library can leave it out."""
    if compat.is_numpy_array(Y):
        return np.linalg.qr(Y, mode="r")
    if compat.is_cupy_array(Y):
        import cupy

        return cupy.linalg.qr(Y, mode="r")
    return namespace(Y).linalg.qr(Y, mode="reduced")[1]


def is_complex(x: Array) -> bool:
    """Say whether the dtype is complex."""
    if type(x) is np.ndarray:
        return x.dtype.kind == "c"
    return namespace(x).isdtype(x.dtype, "complex floating")


def wide(x: Array) -> Array:
    """Return x in float64 or complex128."""
    xp = namespace(x)
    return xp.astype(x, xp.complex128 if is_complex(x) else xp.float64, copy=False)
