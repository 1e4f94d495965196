"""`CodedFourier`: sensing by a known mask and a Fourier transform, without a matrix."""

from __future__ import annotations

import math
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense

NAME = "CodedFourier"


class CodedFourier:
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
        return self._door.leave_wide(self.correlate(self._enter("adjoint", y)))

    def to_dense(self) -> Array:
        """Build the matrices, (p, m, m) or (m, m)."""
        return self._door.leave_wide(self.matrices())

    def _enter(self, method: str, x: Any) -> Array:
        where, m = f"{NAME}.{method}", self.shape[-1]
        x = _arrays.beside(where, "x", x, self.flat)
        if x.ndim not in (1, 2) or x.shape[-1] != m:
            raise ValueError(f"{where}: x must be 1- or 2-dimensional with {m} entries in a row; got shape {tuple(x.shape)}")
        return x

    def image(self, x: Array) -> Array:
        """Do what `apply` does, inside the door."""
        return self._fourier(self.flat * x, own=True)

    def correlate(self, y: Array) -> Array:
        """Do what `adjoint` does, inside the door."""
        return _dense.conj(self.flat) * self._fourier(y, inverse=True)

    def matrices(self) -> Array:
        """Do what `to_dense` does, inside the door."""
        eye = _dense.eye(_arrays.namespace(self.flat), self.shape[-1], self.flat)
        return self._fourier(eye) * self.flat[..., None, :]  # a Fourier matrix is symmetric

    def repeated(self, p: int) -> CodedFourier:
        """Give each of p snapshots the single mask."""
        grid = (p, *self._grid)
        return CodedFourier(_arrays.namespace(self.flat).broadcast_to(_grid_of(self.flat, self._grid), grid), dims=len(self._grid))

    def _fourier(self, x: Array, *, inverse: bool = False, own: bool = False) -> Array:
        """Transform the last axis, as a grid, to the frequencies or back; unitary. Memory that is the caller's `own` may be used again."""
        xp = _arrays.namespace(x)
        grid = _grid_of(x if _dense.is_complex(x) else xp.astype(x, xp.complex128), self._grid)
        if _arrays.engine_of(x) == "cpu":
            import scipy.fft as fft

            transform = fft.ifftn if inverse else fft.fftn
            out = transform(grid, axes=self._axes, norm="ortho", workers=-1, overwrite_x=own)
        else:
            transform = xp.fft.ifftn if inverse else xp.fft.fftn
            out = transform(grid, axes=self._axes, norm="ortho")
        return xp.reshape(out, x.shape)


def _grid_of(x: Array, grid: tuple[int, ...]) -> Array:
    return _arrays.namespace(x).reshape(x, (*x.shape[:-1], *grid))
