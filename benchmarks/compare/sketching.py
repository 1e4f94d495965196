"""Sketching: Walsh-Hadamard transforms and sparse-sign sketches beside plain loops, SciPy, and one memory copy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.compare import THREADS, Task
from lowrank_la.sketching import SRHT, Gaussian, Rademacher, Sketch, SparseSign, fwht


@dataclass
class Rows:
    """A tall array, memory for an answer, and what a contender may prepare before the clock starts."""

    A: np.ndarray
    out: np.ndarray
    operator: Any = None


def _rows(size: str, n: int, c: int) -> Rows:
    A = np.random.default_rng(0).integers(-9, 10, (n if size == "full" else 1024, c)).astype(np.float64)
    return Rows(A, A.copy())


def _sketch_rows(size: str, n: int, c: int, d: int) -> Rows:
    rows = _rows(size, n, c)
    S = SparseSign(d, rows.A.shape[0], rng=0)
    rows.operator = _as_csr(S)
    return rows


def _as_csr(S: SparseSign) -> Any:
    """S as SciPy's compressed rows, built before the clock starts."""
    from scipy.sparse import csr_array

    from lowrank_la.kernels import sparse_sign

    d, n = S.shape
    targets, signs = sparse_sign.entries(np.empty(0), *S._key, np.arange(n))
    start = np.arange(0, targets.size + 1, S.zeta)
    return csr_array((signs.ravel() / np.sqrt(S.zeta), targets.ravel(), start), shape=(n, d)).T.tocsr()


def ours_in_place(rows: Rows) -> np.ndarray:
    """Transform what `out` holds, A to begin with; every second call gives A back, times a power of n."""
    return fwht(rows.out, overwrite=True)


def ours_fresh(rows: Rows) -> np.ndarray:
    return fwht(rows.A)


@functools.cache
def _loop() -> Callable[[np.ndarray], None]:
    from numba import njit, prange

    @njit(parallel=True)
    def loop(x):  # type: ignore[no-untyped-def]
        """Radix 2, level by level, a share of the columns for each thread."""
        n, c = x.shape
        for share in prange(THREADS):
            first, last = c * share // THREADS, c * (share + 1) // THREADS
            half = 1
            while half < n:
                for group in range(0, n, 2 * half):
                    for i in range(group, group + half):
                        for j in range(first, last):
                            a, b = x[i, j], x[i + half, j]
                            x[i, j], x[i + half, j] = a + b, a - b
                half *= 2

    return loop


def plain_loop(rows: Rows) -> np.ndarray:
    _loop()(rows.out)
    return rows.out


def scipy_dct(rows: Rows, workers: int) -> np.ndarray:
    """Another transform, of the same cost in theory: there is no Walsh-Hadamard transform to compare with."""
    from scipy.fft import dct

    return dct(rows.A, axis=0, norm="ortho", workers=workers)


def copy(rows: Rows) -> np.ndarray:
    np.copyto(rows.out, rows.A)
    return rows.out


def _energy(rows: Rows, answer: np.ndarray) -> Mapping[str, float]:
    """How far the norm is from that of A times a power of sqrt(n), one for each transform; exact arithmetic gives 0."""
    growth, root = np.linalg.norm(answer) / np.linalg.norm(rows.A), np.sqrt(rows.A.shape[0])
    return {"norm error": float(abs(growth / root ** round(np.log(growth) / np.log(root)) - 1))}


def sparse_sign(rows: Rows) -> np.ndarray:
    return SparseSign(rows.operator.shape[0], rows.A.shape[0], rng=0).apply(rows.A)


def other(rows: Rows, kind: type[Sketch]) -> np.ndarray:
    return kind(rows.operator.shape[0], rows.A.shape[0], rng=0).apply(rows.A)


def scipy_csr(rows: Rows) -> np.ndarray:
    return rows.operator @ rows.A


def clarkson_woodruff(rows: Rows) -> np.ndarray:
    from scipy.linalg import clarkson_woodruff_transform

    return clarkson_woodruff_transform(rows.A, rows.operator.shape[0], rng=0)


def _distortion(rows: Rows, answer: np.ndarray) -> Mapping[str, float]:
    """Largest relative change of a norm in the column space of A."""
    if answer.shape[0] == rows.A.shape[0]:
        return {"distortion": 0.0}
    L = np.linalg.cholesky(rows.A.T @ rows.A)
    s = np.linalg.svd(np.linalg.solve(L, answer.T), compute_uv=False)
    return {"distortion": float(max(s[0] - 1, 1 - s[-1]))}


def _transform(n: int, c: int) -> Task:
    contenders = {
        "lowrank_la, in place": ours_in_place,
        "lowrank_la, fresh memory": ours_fresh,
        "plain Numba loop, radix 2": plain_loop,
        "scipy.fft.dct": functools.partial(scipy_dct, workers=1),
        f"scipy.fft.dct, {THREADS} workers": functools.partial(scipy_dct, workers=THREADS),
        "one memory copy": copy,
    }
    return Task(f"Walsh-Hadamard transform {n} x {c}", functools.partial(_rows, n=n, c=c), contenders, _energy)


def _sketch(n: int, c: int, d: int) -> Task:
    contenders = {
        "lowrank_la, SparseSign": sparse_sign,
        **{f"lowrank_la, {kind.__name__}": functools.partial(other, kind=kind) for kind in (SRHT, Rademacher, Gaussian)},
        "scipy.sparse CSR, prebuilt": scipy_csr,
        "scipy clarkson_woodruff_transform": clarkson_woodruff,
        "one memory copy": copy,
    }
    return Task(f"sketch {n} x {c} to {d} rows", functools.partial(_sketch_rows, n=n, c=c, d=d), contenders, _distortion)


TASKS = [
    *(_transform(1 << 20, c) for c in (64, 15, 7, 3, 1, 100)),
    *(_sketch(1 << 20, 100, d) for d in (400, 800)),
]
