"""Functions in Chebyshev-Tucker format: `chebyshev_tucker` beside a full transform with a randomized Tucker decomposition, and teneva.

The two others are told the degrees, which ours finds, and the transform also the ranks. Errors are measured at random points of the
Chebyshev measure, which no contender sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from benchmarks.compare import THREADS, Task
from lowrank_la import chebyshev_tucker

TESTED = 20_000


@dataclass(frozen=True)
class Problem:
    """A function on [-1, 1]^d, the accuracy that is wanted, and what the others are told."""

    f: Callable[..., np.ndarray]
    dim: int
    tol: float
    size: int
    rank: int

    @property
    def domain(self) -> list[tuple[int, int]]:
        return [(-1, 1)] * self.dim


def runge(*x: np.ndarray, sharp: float = 25.0) -> np.ndarray:
    return 1 / (1 + sharp * sum(t * t for t in x))


def newton(*x: np.ndarray) -> np.ndarray:
    return 1 / np.sqrt(sum((t - 2) ** 2 for t in x))


def front(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.tanh(5 * (x + y + z))


def ridge(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.cosh(5 * (x + y + z)) ** -2


def mixed(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.tanh(5 * (x + z)) + np.exp(y)


def waves(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.cos(10 * (x + y + z))


def _problem(size: str, problem: Problem) -> Problem:
    return problem if size == "full" else Problem(newton, problem.dim, 1e-4, 9, 4)


def ours(problem: Problem, **options: Any) -> Any:
    return chebyshev_tucker(problem.f, problem.domain, tol=problem.tol, rng=0, **options)


def transform(problem: Problem, size: int | None = None) -> tuple[np.ndarray, list[np.ndarray]]:
    """Fill the grid, transform it along all axes, and compress one mode after the other by a sketch of its fibres."""
    import scipy.fft

    m, d = size or problem.size, problem.dim
    x = np.cos(np.pi * np.arange(m) / (m - 1))
    C = scipy.fft.dctn(problem.f(*np.ix_(*[x] * d)), type=1, workers=THREADS) / (m - 1) ** d
    for k in range(d):
        C[(slice(None),) * k + ([0, -1],)] /= 2
    factors, rng, width = [], np.random.default_rng(0), problem.rank + 10
    for _ in range(d):  # the first mode becomes the last, so that after d turns they stand in order again
        unfolded = C.reshape(C.shape[0], -1)
        Q = np.linalg.qr(unfolded @ rng.standard_normal((unfolded.shape[1], width)))[0]
        B = Q.T @ unfolded
        U, _, _ = np.linalg.svd(B @ B.T)
        V = Q @ U[:, : problem.rank]
        factors.append(V)
        C = np.moveaxis((V.T @ unfolded).reshape(-1, *C.shape[1:]), 0, -1)
    return C, factors


def teneva_cross(problem: Problem, **options: Any) -> list[np.ndarray]:
    import teneva

    d, m = problem.dim, problem.size

    def values(indices: np.ndarray) -> np.ndarray:
        return problem.f(*teneva.ind_to_poi(indices, -1.0, 1.0, m, "cheb").T)

    start = teneva.rand([m] * d, r=1, seed=0)
    Y = teneva.cross(values, start, e=problem.tol, nswp=100, info={}, **options)
    return teneva.func_int(teneva.truncate(Y, problem.tol))


def _at(answer: Any, X: np.ndarray) -> np.ndarray:
    if isinstance(answer, list):
        import teneva

        return teneva.func_get(X, answer, -1.0, 1.0)
    if not isinstance(answer, tuple):
        return answer(X)
    core, factors = answer
    tables = [chebyshev.chebvander(x, V.shape[0] - 1) @ V for x, V in zip(X.T, factors, strict=True)]
    values = np.tensordot(tables[0], core, axes=(1, 0))
    for table in tables[1:]:
        values = np.einsum("ij,ij...->i...", table, values)
    return values


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure the error at random points over the root mean square of the function; ours brings evaluations and a certificate."""
    X = np.cos(np.pi * np.random.default_rng(1).random((TESTED, problem.dim)))
    exact = problem.f(*X.T)
    off, unit = _at(answer, X) - exact, float(np.sqrt(np.mean(exact**2)))
    figures = {"rms error": float(np.sqrt(np.mean(off**2))) / unit, "largest error": float(abs(off).max()) / unit}
    if isinstance(answer, tuple | list):
        return figures
    figures["certified rms"] = answer.certificate.bound / unit
    return {**figures, "evaluations": answer.n_evaluations, "rank": max(answer.ranks), "degree": max(answer.degrees)}


LARGE_RANKS: dict[str, Callable[[Problem], Any]] = {  # of 50 and more, where teneva's stopping rule forms an array of (2 r)^4 m numbers
    "lowrank_la": ours,
    "lowrank_la method='grid'": partial(ours, method="grid"),
    "lowrank_la method='cross'": partial(ours, method="cross"),
    "scipy dctn and randomized Tucker, told degrees and ranks": transform,
    "scipy dctn and randomized Tucker, 129 nodes, told ranks": partial(transform, size=129),
}
SMALL_GRID: dict[str, Callable[[Problem], Any]] = {**LARGE_RANKS, "teneva cross and func_int, told degrees": teneva_cross}
NEWTON = {**SMALL_GRID, "teneva cross and func_int, dr_max=3, told degrees": partial(teneva_cross, dr_max=3)}
NO_GRID: dict[str, Callable[[Problem], Any]] = {"lowrank_la": ours, "teneva cross and func_int, told degrees": teneva_cross}
PEAK: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "scipy dctn and randomized Tucker, 257 nodes, told ranks": transform,
}


def _task(name: str, problem: Problem, contenders: Mapping[str, Callable[[Problem], Any]] = SMALL_GRID) -> Task:
    return Task(name, partial(_problem, problem=problem), contenders, error)


TASKS = [
    _task("chebyshev_tucker of 1/|x - (2,2,2)|, 1e-10", Problem(newton, 3, 1e-10, 18, 9), NEWTON),
    _task("chebyshev_tucker of 1/(1 + 25|x|^2), 1e-10", Problem(runge, 3, 1e-10, 117, 15)),
    _task("chebyshev_tucker of tanh(5(x+y+z)), 1e-10", Problem(front, 3, 1e-10, 79, 55), LARGE_RANKS),
    _task("chebyshev_tucker of cosh(5(x+y+z))^-2, 1e-10", Problem(ridge, 3, 1e-10, 91, 63), LARGE_RANKS),
    _task("chebyshev_tucker of tanh(5(x+z)) + exp(y), 1e-10", Problem(mixed, 3, 1e-10, 76, 51), LARGE_RANKS),
    _task("chebyshev_tucker of cos(10(x+y+z)), 1e-10", Problem(waves, 3, 1e-10, 32, 2)),
    _task("chebyshev_tucker of 1/|x - 2| in 6 variables, 1e-8", Problem(newton, 6, 1e-8, 14, 7), NO_GRID),
    _task("chebyshev_tucker of 1/(1 + 1000|x|^2), 1e-8", Problem(partial(runge, sharp=1000.0), 3, 1e-8, 257, 20), PEAK),
]
