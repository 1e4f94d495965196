"""Sketches that mix the rows by a fast transform before they choose or pool them."""

from __future__ import annotations

import math

import numpy as np

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.sketching._operator import Sketch

_POOL = 32  # rows of the transform in each group of BGP, at least
_PANEL_BYTES = 1 << 27  # of columns that BGP transforms together
_DCT_LENGTH = 8192


def fwht(A: Array, *, axis: int = 0, overwrite: bool = False) -> Array:
    """Multiply by the Walsh-Hadamard matrix H along one axis, without scaling: H H = n.

    Parameters
    ----------
    A : array, with 2^k entries along the axis
        Any number of axes; real or complex.
    axis : int
        The axis that is transformed.
    overwrite : bool
        The answer may take the memory of A. Saves the time that fresh memory costs.

    Returns
    -------
    array
        In the shape, namespace, device and floating dtype of A.

    Raises
    ------
    ValueError
        The length of the axis is no power of two, or there is no such axis.
    TypeError
        A is no array of numbers.

    Notes
    -----
    Cost: n log2(n) additions for n entries, and one read and write of A for 11 levels and every 9 more;
    in natural (Sylvester) order, as `scipy.linalg.hadamard`.

    References
    ----------
    .. [1] Fino and Algazi, Unified matrix treatment of the fast Walsh-Hadamard transform,
       IEEE Trans. Comput. C-25, 1976.

    Examples
    --------
    >>> from lowrank_la.sketching import fwht
    >>> fwht([1.0, 0.0, 1.0, 0.0])
    array([2., 2., 0., 0.])
    """
    door, [inside] = _arrays.enter("fwht", A=A)
    _checks.integer("fwht", "axis", axis, -inside.ndim, inside.ndim - 1)
    length = inside.shape[axis]
    if length < 1 or length & (length - 1):
        raise ValueError(f"fwht: A must have a power of two of entries along axis {axis}; got shape {tuple(inside.shape)}")
    return door.leave(kernels.fwht.transform(inside, axis, overwrite))


def _power(n: int) -> int:
    """Least power of two that is at least n."""
    return 1 << max(0, n - 1).bit_length()


class SRHT(Sketch):
    """Subsampled randomized Hadamard transform of blocks of rows.

    Rows are taken in blocks of 2^k >= 4 d. In each block the rows are permuted at random,
    given random signs and transformed by Walsh-Hadamard; d rows are sampled without
    replacement, given new signs and added to the sketch.

    Parameters
    ----------
    d : int, d >= 1
        Rows.
    n : int, n >= 0
        Columns: rows of the data.
    rng : None, int or numpy.random.Generator
        An int is the seed itself.

    Attributes
    ----------
    block_rows : int
        Rows of a block, a power of two.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    Notes
    -----
    Cost: n c log2(block_rows) additions and one read of A, whatever d; nothing is padded
    but the last block, in cache. Chunks of A should begin and end at multiples of
    `block_rows`: a partial block costs as much as a whole one. Every entry of S is
    +-1/sqrt(d). Without the permutation, structured data alias: identity blocks that line
    up with the transform's own blocks lose most of their rows.

    The theorem for sketch-and-solve of Song, Ye, Yin and Zhang (ICML 2023) in the maximum
    norm is open for this transform: two of its authors reported a gap in the proof in 2026.
    They prove it for `BGP` instead.

    References
    ----------
    .. [1] Tropp, Improved analysis of the subsampled randomized Hadamard transform,
       Adv. Adapt. Data Anal. 3, 2011. Embedding dimension (k + log n) log k.
    .. [2] Balabanov, Beaupere, Grigori and Lederer, Block subsampled randomized Hadamard
       transform for low-rank approximation on distributed architectures, ICML 2023. The blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sketching import SRHT
    >>> A = np.random.default_rng(0).standard_normal((5000, 3))
    >>> S = SRHT(100, 5000, rng=0)
    >>> np.allclose(S.apply(A), S.block() @ A)
    True
    """

    def __init__(self, d: int, n: int, *, rng: _random.RNG = None) -> None:
        super().__init__(d, n, rng=rng)
        self.block_rows = max(_power(d), min(_power(max(4 * d, 1024)), _power(n)))
        self._streams = tuple(_random.stream(f"SRHT {purpose}") for purpose in ("place", "sample", "left", "right"))

    def _key(self) -> tuple:
        return self.seed, kernels.srht.Streams(*self._streams), self.shape[0], self.block_rows

    def _sketch(self, A: Array, row_offset: int, scale: Array | None) -> Array:
        return kernels.srht.apply(A, *self._key(), row_offset, scale)

    def _lift(self, Y: Array, first: int, last: int) -> Array:
        return kernels.srht.adjoint(Y, *self._key(), first, last)

    def _matrix(self, like: Array, cols: Array) -> Array:
        return kernels.srht.matrix(like, *self._key(), cols)


class SRDCT(Sketch):
    """Subsampled randomized cosine transform of equal blocks of rows.

    As `SRHT`, with the discrete cosine transform in place of Walsh-Hadamard: blocks have
    equal lengths of about 8192 rows (or 4 d), and hardly anything is padded.

    Parameters
    ----------
    d : int, d >= 1
        Rows.
    n : int, n >= 0
        Columns: rows of the data.
    rng : None, int or numpy.random.Generator
        An int is the seed itself.

    Attributes
    ----------
    block_rows : int
        Rows of a block.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    Notes
    -----
    Cost: a fast cosine transform of each block, about 3 n c log2(block_rows) flops, several
    times the time of `SRHT`. Quality is the same for practical purposes. For arrays that are
    neither NumPy's nor CuPy's the transform is a product with its matrix.

    References
    ----------
    .. [1] Avron, Maymounkov and Toledo, Blendenpik: supercharging LAPACK's least-squares
       solver, SIAM J. Sci. Comput. 32, 2010. The choice of transforms.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sketching import SRDCT
    >>> A = np.random.default_rng(0).standard_normal((3000, 3))
    >>> S = SRDCT(50, 3000, rng=0)
    >>> np.allclose(S.apply(A), S.block() @ A)
    True
    """

    def __init__(self, d: int, n: int, *, rng: _random.RNG = None) -> None:
        super().__init__(d, n, rng=rng)
        blocks = max(1, round(n / max(_DCT_LENGTH, 4 * d)))
        self.block_rows = max(d, -(-n // blocks), 1)
        self._streams = tuple(_random.stream(f"SRDCT {purpose}") for purpose in ("place", "sample", "left", "right"))

    def _block(self, like: Array, block: int) -> tuple[Array, Array, Array, Array]:
        """Places of the block's rows, their signs, an order of the outputs whose first d are sampled, and the factors of these."""
        xp, (d, _), L = _arrays.namespace(like), self.shape, self.block_rows
        place, sample, left, right = self._streams
        places = kernels.srht.permutation(self.seed, place, block, L)
        samples = kernels.srht.permutation(self.seed, sample, block, L)
        places, samples = (_arrays.from_numpy(x.astype(np.int64), like) for x in (places, samples))
        r = xp.arange(d, dtype=xp.int64, device=like.device)
        out = kernels.srht.signs(like, self.seed, left, xp.full_like(r, block), r)
        rows = kernels.srht.row_signs(like, self.seed, right, block * L, block * L + L)
        real = _arrays.real_dtype(xp, like.dtype)
        return places, xp.astype(rows, real), samples, xp.astype(out, real) * math.sqrt(L / d)

    def _blocks(self, first: int, last: int) -> range:
        return range(first // self.block_rows, -(-last // self.block_rows))

    def _sketch(self, A: Array, row_offset: int, scale: Array | None) -> Array:
        xp, d, L = _arrays.namespace(A), self.shape[0], self.block_rows
        Y = xp.zeros((d, A.shape[1]), dtype=A.dtype, device=A.device)
        for block in self._blocks(row_offset, row_offset + A.shape[0]):
            places, signs, samples, factors = self._block(A, block)
            first, last = max(block * L - row_offset, 0), min((block + 1) * L - row_offset, A.shape[0])
            before = first + row_offset - block * L
            rows = signs[before : before + last - first]
            rows = rows if scale is None else rows * scale[first:last]
            X = xp.astype(rows, A.dtype)[:, None] * A[first:last, :]
            zeros = xp.zeros((L, A.shape[1]), dtype=A.dtype, device=A.device)
            X = xp.concat([zeros[:before, :], X, zeros[: L - before - X.shape[0], :]])
            X = kernels.dct.transform(xp.take(X, xp.argsort(places), axis=0), False)
            Y += xp.astype(factors, A.dtype)[:, None] * xp.take(X, samples[:d], axis=0)
        return Y

    def _lift(self, Y: Array, first: int, last: int) -> Array:
        xp, d, L = _arrays.namespace(Y), self.shape[0], self.block_rows
        parts = [Y[:0, :]]
        for block in self._blocks(first, last):
            places, signs, samples, factors = self._block(Y, block)
            rows = xp.concat([xp.astype(factors, Y.dtype)[:, None] * Y, xp.zeros((L - d, Y.shape[1]), dtype=Y.dtype, device=Y.device)])
            X = kernels.dct.transform(xp.take(rows, xp.argsort(samples), axis=0), True)
            X = xp.astype(signs, Y.dtype)[:, None] * xp.take(X, places, axis=0)
            parts.append(X[max(first - block * L, 0) : min(last - block * L, L), :])
        return xp.concat(parts)

    def _matrix(self, like: Array, cols: Array) -> Array:
        xp, L = _arrays.namespace(like), self.block_rows
        S = xp.zeros((self.shape[0], cols.shape[0]), dtype=_arrays.real_dtype(xp, like.dtype), device=like.device)
        for block in np.unique(_arrays.to_numpy(cols) // L):
            places, signs, samples, factors = self._block(like, int(block))
            i = xp.where(cols // L == int(block), cols % L, xp.zeros_like(cols))
            C = kernels.dct.matrix(like, L, samples[: self.shape[0]], xp.take(places, i)) * factors[:, None] * xp.take(signs, i)[None, :]
            S = xp.where((cols // L == int(block))[None, :], C, S)
        return S


class BGP(Sketch):
    """Balanced Gaussian-pooled transform: signs, one Walsh-Hadamard transform, and Gaussian sums of random groups of rows.

    Parameters
    ----------
    d : int, d >= 1
        Rows.
    n : int, n >= 0
        Columns: rows of the data.
    rng : None, int or numpy.random.Generator
        An int is the seed itself.

    Attributes
    ----------
    padded_rows : int
        Length of the transform: the least power of two that is at least n and 32 d.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    Notes
    -----
    S = B G P F D J: J pads to N = `padded_rows`, D holds signs, F is the orthonormal
    Walsh-Hadamard transform, P a random permutation, G a diagonal of independent standard
    Gaussians, and B adds d groups of N/d rows. Given the flattened rows F D J A, the rows
    of the sketch are independent Gaussian sums, so that sketch-and-solve obeys a bound in
    the maximum norm [1]_ (their theorem asks for groups of order d^2; here they have 32 rows
    or n/d, whichever is more). E[S^T S] = I without any further factor.

    Cost: N c log2 N additions, for every chunk anew: join chunks before. Memory: panels of
    N rows and 128 MiB.

    References
    ----------
    .. [1] Song and Zhang, Hadamard flattening and Gaussian pooling sketch for least squares
       with coordinate-wise guarantee, manuscript, 2026. Not peer-reviewed.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sketching import BGP
    >>> A = np.random.default_rng(0).standard_normal((500, 3))
    >>> S = BGP(20, 500, rng=0)
    >>> np.allclose(S.apply(A), S.block() @ A)
    True
    """

    def __init__(self, d: int, n: int, *, rng: _random.RNG = None) -> None:
        super().__init__(d, n, rng=rng)
        self.padded_rows = _power(max(n, _POOL * d))
        self._streams = tuple(_random.stream(f"BGP {purpose}") for purpose in ("sign", "place", "weight"))

    def _signs(self, like: Array, first: int, last: int) -> Array:
        """Signs of data rows, over sqrt(padded_rows)."""
        xp = _arrays.namespace(like)
        signs = kernels.srht.row_signs(like, self.seed, self._streams[0], first, last)
        return xp.astype(signs, _arrays.real_dtype(xp, like.dtype)) / math.sqrt(self.padded_rows)

    def _sketch(self, A: Array, row_offset: int, scale: Array | None) -> Array:
        xp, N = _arrays.namespace(A), self.padded_rows
        signs = self._signs(A, row_offset, row_offset + A.shape[0])
        factors = xp.astype(signs if scale is None else signs * scale, A.dtype)[:, None]
        panels, X = [xp.zeros((self.shape[0], 0), dtype=A.dtype, device=A.device)], None
        width = max(8, _PANEL_BYTES // (8 * N))
        for left in range(0, A.shape[1], width):
            panel = A[:, left : min(left + width, A.shape[1])]
            X = xp.zeros((N, panel.shape[1]), dtype=A.dtype, device=A.device) if X is None or X.shape[1] != panel.shape[1] else X
            X[:row_offset, :], X[row_offset + A.shape[0] :, :] = 0, 0
            X[row_offset : row_offset + A.shape[0], :] = panel
            X[row_offset : row_offset + A.shape[0], :] *= factors
            X = kernels.fwht.transform(X, 0, True)
            panels.append(kernels.pool.apply(X, self.seed, *self._streams[1:], self.shape[0]))
        return xp.concat(panels, axis=1)

    def _lift(self, Y: Array, first: int, last: int) -> Array:
        xp = _arrays.namespace(Y)
        X = kernels.fwht.transform(kernels.pool.spread(Y, self.seed, *self._streams[1:], self.padded_rows), 0, True)
        return xp.astype(self._signs(Y, first, last), Y.dtype)[:, None] * X[first:last, :]

    def _matrix(self, like: Array, cols: Array) -> Array:
        xp, N = _arrays.namespace(like), self.padded_rows
        common = xp.arange(N, dtype=xp.int64, device=like.device)[:, None] & cols[None, :]
        for shift in (32, 16, 8, 4, 2, 1):
            common = common ^ (common >> shift)
        H = xp.astype(1 - 2 * (common & 1), _arrays.real_dtype(xp, like.dtype))
        signs = xp.take(self._signs(like, 0, self.shape[1]), cols)
        return (kernels.pool.matrix(like, self.seed, *self._streams[1:], self.shape[0], N) @ H) * signs[None, :]
