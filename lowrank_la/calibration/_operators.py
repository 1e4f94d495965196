"""Sensing without a matrix: masks before a Fourier transform, and linear operators of the caller's."""

from __future__ import annotations

import functools
import math
import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense

NAME = "CodedFourier"
LONG = 1 << 15  # entries of a row that is transformed by itself
PROBES = 16  # random vectors that estimate the energies of the columns of an operator


class MatrixFree(ABC):
    """What the iterative path asks of sensing matrices.

    Attributes
    ----------
    shape : tuple of int
        (p, m, n), or (m, n) if one matrix serves all snapshots.
    orthogonal : bool
        Whether each A_l^H A_l is diagonal.
    """

    shape: tuple[int, ...]
    orthogonal = False

    @abstractmethod
    def image(self, x: Array, out: np.ndarray | None = None) -> Array:
        """Return A_l x (p, m) for one signal (n,), or A_l x_l for many (p, n), perhaps in the memory of `out`."""

    @abstractmethod
    def correlate(self, F: Array, together: bool) -> Array:
        """Return A_l^H f_l (p, n), or their sum (n,). F may be used up."""

    @abstractmethod
    def energy(self, together: bool) -> Array:
        """Return the squared norms of the columns of each A_l, or sums over l: exactly if they are orthogonal, else about."""


class Sensing(MatrixFree):
    """What a problem asks in addition of the operators that the caller gives."""

    @abstractmethod
    def matrices(self) -> Array:
        """Build the matrices."""

    @abstractmethod
    def repeated(self, p: int) -> Sensing:
        """Give each of p snapshots the single matrix."""


class CodedFourier(Sensing):
    """Sense signals by known masks, then a unitary Fourier transform: A_l x = F(mask_l * x).

    Gains behind such an operator are the spectrum of an unknown blur: `self_calibrate` is then blind deconvolution.

    Parameters
    ----------
    masks : array (p, m_1, ..., m_dims) or (m_1, ..., m_dims)
        One mask for each snapshot, or a single one for all. Zeros hide entries of the signal, which are then reported as zero.
    dims : {1, 2}
        Axes of the signal.

    Attributes
    ----------
    flat : array (p, m) or (m,)
        The masks in double precision, flat: NumPy arrays also where the masks were tensors.
    shape : tuple of int
        (p, m, m), or (m, m) for a single mask, where m is the size of the grid.
    orthogonal : bool
        True: columns of each A_l are orthogonal.

    Raises
    ------
    ValueError
        The masks have the wrong number of axes, no entries, or entries that are not finite.
    TypeError
        The masks are no dense array of numbers.

    Notes
    -----
    Signals and measurements are flat: (p, m) arrays. Cost of one application: p transforms of size m.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.calibration import CodedFourier
    >>> A = CodedFourier(np.ones((3, 8, 8)), dims=2)
    >>> A.shape
    (3, 64, 64)
    >>> A.apply(np.ones((3, 64))).shape
    (3, 64)
    """

    orthogonal = True

    def __init__(self, masks: Any, *, dims: int = 1) -> None:
        dims = _checks.integer(NAME, "dims", dims, 1, 2)
        self._door, [masks] = _dense.enter(NAME, masks=masks)
        _checks.ndim(NAME, "masks", masks, (dims, dims + 1))
        xp = _arrays.namespace(masks)
        self._axes = tuple(range(-dims, 0))
        self._grid = tuple(masks.shape[-dims:])
        m = math.prod(self._grid)
        self.flat = xp.reshape(_dense.wide(masks), (*masks.shape[:-dims], m))
        self.shape = (*masks.shape[:-dims], m, m)

    def apply(self, x: Any) -> Array:
        """Return A_l x_l for signals (p, m), or for one signal (m,) that all masks see."""
        return self._door.leave_wide(self.image(self._enter("apply", x)))

    def adjoint(self, y: Any) -> Array:
        """Return A_l^H y_l for measurements (p, m)."""
        y = self._enter("adjoint", y)
        return self._door.leave_wide(self.correlate(_arrays.namespace(y).asarray(y, copy=True), False))

    def to_dense(self) -> Array:
        """Build the matrices, (p, m, m) or (m, m)."""
        return self._door.leave_wide(self.matrices())

    def _enter(self, method: str, x: Any) -> Array:
        where, m = f"{NAME}.{method}", self.shape[-1]
        x = _arrays.beside(where, "x", x, self.flat)
        if x.ndim not in (1, 2) or x.shape[-1] != m:
            raise ValueError(f"{where}: x must be 1- or 2-dimensional with {m} entries in a row; got shape {tuple(x.shape)}")
        return x

    def image(self, x: Array, out: np.ndarray | None = None) -> Array:
        """Do what `apply` does, inside the door."""
        return self._fourier(product(self.flat, x, out))

    def correlate(self, F: Array, together: bool) -> Array:
        """Do what `adjoint` does, inside the door; F is used up."""
        F = self._fourier(F, inverse=True)
        if not together:
            return _dense.conj(self.flat) * F
        return kernels.channel_projection.channel_sum(self.flat, F)

    def energy(self, together: bool) -> Array:
        """Return the squares of the masks."""
        xp = _arrays.namespace(self.flat)
        energy = xp.abs(self.flat) ** 2
        return xp.sum(energy, axis=0) if together else energy

    def matrices(self) -> Array:
        """Do what `to_dense` does, inside the door."""
        eye = _dense.eye(_arrays.namespace(self.flat), self.shape[-1], self.flat)
        return self._fourier(eye) * self.flat[..., None, :]  # a Fourier matrix is symmetric

    def repeated(self, p: int) -> CodedFourier:
        """Give each of p snapshots the single mask."""
        grid = (p, *self._grid)
        return CodedFourier(_arrays.namespace(self.flat).broadcast_to(_grid_of(self.flat, self._grid), grid), dims=len(self._grid))

    def _fourier(self, x: Array, *, inverse: bool = False) -> Array:
        """Transform the last axis, as a grid, to the frequencies or back; unitary. The memory of x may be used again."""
        xp = _arrays.namespace(x)
        grid = _grid_of(x if _dense.is_complex(x) else xp.astype(x, xp.complex128), self._grid)
        if _arrays.engine_of(x) == "cpu":
            out = _on_all_threads(grid, self._axes, inverse)
        else:
            transform = xp.fft.ifftn if inverse else xp.fft.fftn
            out = transform(grid, axes=self._axes, norm="ortho")
        return xp.reshape(out, x.shape)


def _on_all_threads(grid: np.ndarray, axes: tuple[int, ...], inverse: bool) -> np.ndarray:
    """Transform in place if possible; long rows one by one, since several side by side would not stay in cache."""
    import scipy.fft as fft

    transform: Any = functools.partial(fft.ifftn if inverse else fft.fftn, axes=axes, norm="ortho", overwrite_x=True)
    if grid.ndim == len(axes) or grid[0].size < LONG:
        return transform(grid, workers=-1)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for row, done in zip(grid, threads.map(transform, grid), strict=True):
            if not np.may_share_memory(row, done):
                row[...] = done
    return grid


def product(A: Array, B: Array, out: np.ndarray | None) -> Array:
    """Return A * B, in the memory of `out` if there is some: fresh memory costs more than the product."""
    return A * B if out is None else np.multiply(A, B, out=out)


def _grid_of(x: Array, grid: tuple[int, ...]) -> Array:
    return _arrays.namespace(x).reshape(x, (*x.shape[:-1], *grid))


class Operators(Sensing):
    """Linear operators (m, n): a list of p of them, or one for all snapshots.

    Each has `shape`, and `matmat` and `rmatmat`, or `@` for itself and for its `.H` or `.T`; products with arrays (n, k) and (m, k)
    are arrays of the kind of the measurements.
    """

    def __init__(self, function: str, given: Any) -> None:
        self.many = isinstance(given, list | tuple)
        self.parts = list(given) if self.many else [given]
        shapes = {tuple(op.shape) for op in self.parts}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            raise ValueError(f"{function}: A must be operators of one shape (m, n); got {sorted(shapes)}")
        self.function = function
        self.shape = (len(self.parts), *shapes.pop()) if self.many else shapes.pop()
        self.like: Array = np.empty(0)

    def on(self, like: Array) -> bool:
        """Multiply with arrays of the kind of `like` from now on; say whether products with real arrays are complex."""
        self.like = _dense.wide(like)[:0]
        probe = self._product(self.parts[0], _arrays.namespace(like).ones_like(self._probe(0)), adjoint=False)
        return _dense.is_complex(probe)

    def image(self, x: Array, out: np.ndarray | None = None) -> Array:
        """Multiply part by part."""
        xp = _arrays.namespace(x)
        if not self.many:
            return xp.matrix_transpose(self._product(self.parts[0], xp.matrix_transpose(x), adjoint=False))
        columns = [x[l, :] if x.ndim == 2 else x for l in range(len(self.parts))]
        return xp.stack([self._product(op, column[:, None], adjoint=False)[:, 0] for op, column in zip(self.parts, columns, strict=True)])

    def correlate(self, F: Array, together: bool) -> Array:
        """Multiply adjoints part by part."""
        xp = _arrays.namespace(F)
        if not self.many:
            return xp.matrix_transpose(self._product(self.parts[0], xp.matrix_transpose(F), adjoint=True))
        rows = [self._product(op, F[l, :][:, None], adjoint=True)[:, 0] for l, op in enumerate(self.parts)]
        return sum(rows[1:], start=rows[0]) if together else xp.stack(rows)

    def energy(self, together: bool) -> Array:
        """Estimate squared norms of the columns by the adjoint on random signs."""
        xp = _arrays.namespace(self.like)
        signs = np.sign(_random.host_generator(0, "calibration energy").standard_normal((self.shape[-2], PROBES)))
        signs = xp.astype(_arrays.from_numpy(signs, self.like), self.like.dtype)
        each = [xp.mean(xp.abs(self._product(op, signs, adjoint=True)) ** 2, axis=1) for op in self.parts]
        if not self.many:
            return each[0]
        return sum(each[1:], start=each[0]) if together else xp.stack(each)

    def matrices(self) -> Array:
        """Apply the operators to the identity."""
        xp = _arrays.namespace(self.like)
        eye = _dense.eye(xp, self.shape[-1], self.like)
        each = [self._product(op, eye, adjoint=False) for op in self.parts]
        return xp.stack(each) if self.many else each[0]

    def repeated(self, p: int) -> Operators:
        """Give each of p snapshots the single operator."""
        made = Operators(self.function, self.parts * p)
        made.like = self.like
        return made

    def _probe(self, axis: int) -> Array:
        xp = _arrays.namespace(self.like)
        return xp.zeros((self.shape[-1 - axis], 1), dtype=self.like.dtype, device=self.like.device)

    def _product(self, op: Any, X: Array, *, adjoint: bool) -> Array:
        """Return A X or A^H X in double precision.

        Raises
        ------
        ValueError
            The operator returns another shape, or numbers that are not finite.
        TypeError
            It has neither kind of adjoint.
        """
        Y = _adjoint(self.function, op, X) if adjoint else (op.matmat(X) if hasattr(op, "matmat") else op @ X)
        Y = _arrays.beside(self.function, "a product with A", Y, X)
        _checks.shape(self.function, "a product with A", Y, (self.shape[-1 if adjoint else -2], X.shape[1]))
        return _checks.finite(self.function, "products with A", _dense.wide(Y))


def _adjoint(function: str, op: Any, X: Array) -> Any:
    if hasattr(op, "rmatmat"):
        return op.rmatmat(X)
    if hasattr(op, "H"):
        return op.H @ X
    if hasattr(op, "T"):
        return _dense.conj(op.T @ _dense.conj(X))
    raise TypeError(f"{function}: A must be operators with rmatmat, .H or .T; got {type(op).__name__}")


class Kept(MatrixFree):
    """Sensing matrices whose columns off a support are zero: sparse signals."""

    def __init__(self, A: MatrixFree, mask: Array) -> None:
        self.A, self.mask, self.shape, self.orthogonal = A, mask, A.shape, A.orthogonal

    def image(self, x: Array, out: np.ndarray | None = None) -> Array:
        """Multiply entries on the support."""
        return self.A.image(self.mask * x, out)

    def correlate(self, F: Array, together: bool) -> Array:
        """Keep entries on the support."""
        return self.mask * self.A.correlate(F, together)

    def energy(self, together: bool) -> Array:
        """Keep energies on the support."""
        return self.mask * self.A.energy(together)
