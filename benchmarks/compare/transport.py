"""Entropic transport: `sinkhorn` beside POT, regot, OTT, an absorbed-kernel Sinkhorn in NumPy, and exact solvers.

Costs are scaled to a largest one of 1, and eta is 1 / reg. All are asked for an L1 marginal error (both sides) of 1e-9, in at most so many
sweeps as take some ten seconds; the error that they reached stands beside the time. The digits are the images that scikit-learn
bundles, with noise added to copies where more are wanted than there are. Solvers of the problem without regularisation follow, and clouds
whose costs nobody stores: there peers make so many sweeps as the time allows, in single precision, and are stopped at 1e-6.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la.transport import sinkhorn

TOL = 1e-9
SWEEPS = {("clouds", 4000): 1500, ("assignment", 4000): 500, ("images", 4000): 100}  # of peers, at most
MANY = 3000


@dataclass(frozen=True)
class Problem:
    """Costs (or points), regularisation, and sweeps that a peer may make."""

    C: Any
    reg: float
    sweeps: int
    points: Any = None

    @property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        n, m = self.C.shape if self.points is None else (len(self.points[0]), len(self.points[1]))
        return np.full(n, 1 / n), np.full(m, 1 / m)


def costs(kind: str, n: int) -> np.ndarray:
    """Random assignment costs, squared distances of points in the unit square, or of images."""
    rng = np.random.default_rng(0)
    if kind == "assignment":
        return rng.random((n, n))
    if kind == "clouds":
        X, Y = rng.random((n, 2)), rng.random((n, 2))
    else:
        X, Y = images(rng, n)
    C = np.maximum((X**2).sum(1)[:, None] + (Y**2).sum(1) - 2 * X @ Y.T, 0.0)
    return C / C.max()


def images(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    D = load_digits().data / 16
    copies = -(-2 * n // len(D))
    if copies > 1:
        D = np.repeat(D, copies, axis=0)
        D = D + 0.02 * rng.standard_normal(D.shape)
    order = rng.permutation(len(D))
    return D[order[:n]], D[order[n : 2 * n]]


def ours(problem: Problem, **options: Any) -> Any:
    C = problem.C if problem.points is None else problem.points
    return sinkhorn(C, reg=problem.reg, **options)


def pot(problem: Problem, method: str) -> np.ndarray:
    import ot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ot.sinkhorn(*problem.weights, problem.C, problem.reg, method=method, stopThr=TOL, numItermax=problem.sweeps)


def pot_exact(problem: Problem) -> np.ndarray:
    import ot

    return ot.emd(*problem.weights, problem.C, numItermax=10**7)


def regot_solver(problem: Problem, solver: str) -> np.ndarray:
    import regot

    a, b = problem.weights
    result = getattr(regot, solver)(np.asfortranarray(problem.C), a, b, problem.reg, tol=TOL, max_iter=problem.sweeps)
    return np.asarray(result.plan)


def ott_solver(problem: Problem) -> np.ndarray:
    import jax

    jax.config.update("jax_enable_x64", True)
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn as ott_sinkhorn

    solver = ott_sinkhorn.Sinkhorn(lse_mode=False, threshold=TOL, max_iterations=min(problem.sweeps, 1000))
    answer = solver(linear_problem.LinearProblem(geometry.Geometry(cost_matrix=problem.C, epsilon=problem.reg)))
    return np.asarray(answer.matrix)


def absorbed(problem: Problem) -> np.ndarray:
    """Sweeps of a stored kernel into which large scalings are absorbed, with falling regularisation: what NumPy can do."""
    (a, b), C = problem.weights, problem.C
    f, g, levels = np.zeros(len(a)), np.zeros(len(b)), [problem.reg]
    while levels[-1] < 0.25:
        levels.append(4 * levels[-1])
    for eps in levels[::-1]:
        left = problem.sweeps if eps == problem.reg else 20
        while left > 0:
            K = np.exp((f[:, None] + g - C) / eps)
            v = np.ones_like(g)
            for _ in range(min(left, 100)):
                t = K @ v
                u = a / t
                v = b / (u @ K)
            left -= 100
            f, g = f + eps * np.log(u), g + eps * np.log(v)
            if np.abs(u * (K @ v) - a).sum() <= TOL:
                break
    return np.exp((f[:, None] + g - C) / problem.reg)


def assignment(problem: Problem) -> np.ndarray:
    """SciPy's solver for equal weights."""
    from scipy.optimize import linear_sum_assignment

    n = len(problem.C)
    P = np.zeros((n, n))
    P[linear_sum_assignment(problem.C)] = 1 / n
    return P


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure the marginal error; ours brings the bracket of the least cost, relative to its upper end."""
    if not isinstance(answer, np.ndarray):
        known = math.isfinite(answer.certificate.bound)
        bracket = {"bracket": answer.certificate.bound / answer.upper_bound} if known else {}
        return {"marginal error": answer.row_error + answer.column_error, "iterations": answer.n_iter, **bracket}
    a, b = problem.weights
    return {"marginal error": float(np.abs(answer.sum(1) - a).sum() + np.abs(answer.sum(0) - b).sum())}


def exact_error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure the marginal error of the plan and its cost."""
    P = answer if isinstance(answer, np.ndarray) else answer.plan(feasible=True)
    a, b = problem.weights
    return {"cost": float(np.sum(P * problem.C)), "marginal error": float(np.abs(P.sum(1) - a).sum() + np.abs(P.sum(0) - b).sum())}


SOLVERS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la method='newton-sparse'": functools.partial(ours, method="newton-sparse"),
    "lowrank_la certificate=False": functools.partial(ours, certificate=False),
    "NumPy, absorbed kernel": absorbed,
    "POT sinkhorn": functools.partial(pot, method="sinkhorn"),
    "regot sinkhorn_ssns": functools.partial(regot_solver, solver="sinkhorn_ssns"),
    "OTT": ott_solver,
    "POT emd (exact)": pot_exact,
}
LARGE = {name: SOLVERS[name] for name in SOLVERS if name not in ("regot sinkhorn_ssns", "OTT")}  # which take minutes


EXACT: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la refine='exact'": functools.partial(ours, refine="exact"),
    "lowrank_la, entropic": ours,
    "POT emd": pot_exact,
    "SciPy linear_sum_assignment": assignment,
}


def _task(
    kind: str, n: int, eta: int, contenders: dict[str, Callable[[Problem], Any]], measure: Any = error, name: str = "transport"
) -> Task:
    def setup(size: str) -> Problem:
        if size == "full":
            return Problem(costs(kind, n), 1 / eta, SWEEPS.get((kind, n), MANY))
        return Problem(costs(kind, 40), 0.05, 200)

    return Task(f"{name} {kind}, n = {n}, eta = {eta}", setup, contenders, measure)


def _cloud(n: int, sweeps: int, size: str) -> Problem:
    n = n if size == "full" else 60
    rng = np.random.default_rng(0)
    X, Y = rng.random((n, 3)), rng.random((n, 3)) ** 2
    return Problem(None, 0.03, sweeps, (X, Y))


def torch_tiles(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Sweeps in the log domain on tiles that stay in the cache, in float32: what PyTorch can do without storing the costs."""
    import torch

    X, Y = (torch.as_tensor(x, dtype=torch.float32) for x in problem.points)
    p, q = (-(x**2).sum(1) / problem.reg for x in (X, Y))
    p0, q0 = p, q
    for _ in range(problem.sweeps):
        old, p = p, _half(X * (2 / problem.reg), Y, q)
        q = _half(Y * (2 / problem.reg), X, p)
        if float(torch.expm1(old - p).abs().mean()) <= 1e-6:
            break
    return tuple((problem.reg * (x - x0).double()).numpy() for x, x0 in ((p, p0), (q, q0)))


def _half(A: Any, B: Any, q: Any) -> Any:
    """Potentials that make the row sums right: -log mean_j exp(A_i . B_j + q_j)."""
    import torch

    out = torch.empty(len(A))
    for i in range(0, len(A), 64):
        rows = slice(i, i + 64)
        parts = [torch.logsumexp(torch.addmm(q[j : j + 8192], A[rows], B[j : j + 8192].T), 1) for j in range(0, len(B), 8192)]
        out[rows] = math.log(len(B)) - torch.logsumexp(torch.stack(parts), 0)
    return out


def ott_online(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Sweeps that OTT makes in blocks of 1024 points, in float32."""
    import jax

    jax.config.update("jax_enable_x64", False)
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn as ott_sinkhorn

    if not hasattr(jax.interpreters.batching, "is_vmappable"):
        raise ImportError("this OTT needs an older JAX for costs that are not stored")
    X, Y = (x.astype(np.float32) for x in problem.points)
    geometry = pointcloud.PointCloud(X, Y, epsilon=problem.reg, batch_size=1024)
    solver = ott_sinkhorn.Sinkhorn(threshold=1e-6, max_iterations=problem.sweeps)
    answer = solver(linear_problem.LinearProblem(geometry))
    return np.asarray(answer.f, np.float64), np.asarray(answer.g, np.float64)


def pot_lazy(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """One sweep, which POT makes in blocks of 1000 rows."""
    import ot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X, Y = problem.points
        f, g = ot.bregman.empirical_sinkhorn(X, Y, problem.reg, numIterMax=1, isLazy=True, batchSize=1000)[:2]
    return problem.reg * (f + np.log(len(X))), problem.reg * (g + np.log(len(Y)))


def cloud_error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Measure the marginal error in float64."""
    if not isinstance(answer, tuple):
        return error(problem, answer)
    from lowrank_la import kernels

    X, Y = problem.points
    a, b = np.full(len(X), 1 / len(X)), np.full(len(Y), 1 / len(Y))
    f, g = answer[0] + problem.reg * np.log(a), answer[1] + problem.reg * np.log(b)
    plan = kernels.cloud.plan(X, Y, "sqeuclidean", f, g, a, problem.reg, 0.0, True)
    return {"marginal error": float(np.abs(plan.rows - a).sum() + np.abs(plan.columns - b).sum())}


FEW_CLOUDS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "PyTorch in tiles": torch_tiles,
    "OTT": ott_online,
    "POT lazy, one sweep": pot_lazy,
}
CLOUDS: dict[str, Callable[[Problem], Any]] = {"lowrank_la": ours, "PyTorch in tiles, two sweeps": torch_tiles}
TASKS = [
    *(_task(kind, 1000, 1200, SOLVERS) for kind in ("clouds", "assignment", "images")),
    *(_task("clouds", 1000, eta, SOLVERS) for eta in (100, 1000)),
    *(_task(kind, 4000, 1200, LARGE) for kind in ("clouds", "assignment", "images")),
    _task("clouds", 4000, 100, LARGE),
    *(_task("clouds", n, 1200, EXACT, exact_error, "exact transport") for n in (250, 500, 1000, 2000, 4000)),
    *(_task(kind, 4000, 1200, EXACT, exact_error, "exact transport") for kind in ("assignment", "images")),
    Task("transport points, 10000 x 3, eta = 33", functools.partial(_cloud, 10_000, 300), FEW_CLOUDS, cloud_error),
    Task("transport points, 50000 x 3, eta = 33", functools.partial(_cloud, 50_000, 2), CLOUDS, cloud_error),
]
