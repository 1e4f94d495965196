"""Least squares: `sketch_lstsq` beside LAPACK through NumPy and SciPy, torch, and SciPy's CountSketch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la import sketch_lstsq
from lowrank_la.factor import _precondition
from lowrank_la.regression import _bounds, _entry
from lowrank_la.sketching import SparseSign


@dataclass
class Problem:
    """Data, and a judge of answers that is more accurate than any contender."""

    A: np.ndarray
    b: np.ndarray

    @cached_property
    def scene(self) -> tuple[_bounds.Scene, _bounds.Gram]:
        """The problem in well conditioned coordinates, with its Gram matrix."""
        entry = _entry.enter(self.A, self.b, None, 0.0)
        n, d = self.A.shape
        Y, Z = entry.problem.sketch(SparseSign(min(8 * d, n), n, rng=1))
        scene = _bounds.Scene(entry.problem, _precondition.precondition(Y, Z, entry.roundoff), entry.norms_b(), fine=True)
        gram, _ = _bounds.gram(scene, fast=False)
        assert gram is not None
        return scene, gram

    @cached_property
    def solution(self) -> np.ndarray:
        """The solution, by corrections from double-length gradients until they stop changing it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such a tolerance is out of reach, which is the point
            return sketch_lstsq(self.A, self.b, method="cholqr", tol=1e-25, rng=2).x

    def judge(self, x: np.ndarray) -> dict[str, float]:
        """Return the backward error (Karlson and Walden), the relative forward error and the residual's excess."""
        scene, gram = self.scene
        at = scene.look(x[:, None], gram.R)
        best = scene.look(self.solution[:, None], gram.R)
        excess = float(np.sqrt(at.r2[0] / best.r2[0])) - 1 if best.r2[0] > 0 else 0.0
        forward = np.linalg.norm(x - self.solution) / np.linalg.norm(self.solution)
        return {"backward error": at.worst, "forward error": forward, "residual excess": max(0.0, excess)}


def make(n: int, d: int, cond: float, kind: str = "plain") -> Problem:
    """Draw A with about this condition, and b with noise a thousandth of A's norm."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, d))
    if kind == "coherent":
        A[2 * d :] *= 1e-4
    A = (A * np.logspace(-np.log10(cond), 0, d)) @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    b = A @ rng.standard_normal(d)
    r = rng.standard_normal(n)
    b += r * (1e-3 * np.linalg.norm(A) / np.linalg.norm(r))
    if kind == "scaled":
        A *= np.logspace(-8, 8, d)
    return Problem(np.asfortranarray(A) if kind == "fortran" else A, b)


def _setup(size: str, n: int, d: int, **options: Any) -> Problem:
    return make(*((n, d) if size == "full" else (4000, 20)), **options)


def ours(problem: Problem, **options: Any) -> Any:
    return sketch_lstsq(problem.A, problem.b, rng=0, **options)


def scipy_lstsq(problem: Problem, driver: str) -> np.ndarray:
    from scipy.linalg import lstsq

    return lstsq(problem.A, problem.b, lapack_driver=driver, check_finite=False)[0]


def numpy_lstsq(problem: Problem) -> np.ndarray:
    return np.linalg.lstsq(problem.A, problem.b)[0]


def qr_solve(problem: Problem) -> np.ndarray:
    from scipy.linalg import solve_triangular

    d = problem.A.shape[1]
    R = np.linalg.qr(np.column_stack([problem.A, problem.b]), mode="r")
    return solve_triangular(R[:d, :d], R[:d, d])


def torch_gels(problem: Problem) -> np.ndarray:
    import torch

    torch.set_num_threads(2)
    A, b = torch.from_numpy(problem.A), torch.from_numpy(problem.b[:, None])
    return torch.linalg.lstsq(A, b, driver="gels").solution[:, 0].numpy()


def clarkson_woodruff(problem: Problem, rows: float) -> np.ndarray:
    from scipy.linalg import clarkson_woodruff_transform, lstsq

    d = problem.A.shape[1]
    sketch = clarkson_woodruff_transform(np.column_stack([problem.A, problem.b]), int(rows * d), rng=0)
    return lstsq(sketch[:, :d], sketch[:, d], check_finite=False)[0]


def error(problem: Problem, answer: Any) -> Mapping[str, float]:
    """Judge an answer; ours brings its own bound on the relative forward error."""
    if isinstance(answer, np.ndarray):
        return problem.judge(answer)
    bound = float(np.linalg.norm(answer.x_bound) / np.linalg.norm(problem.solution))
    return {**problem.judge(answer.x), "certified forward error": min(bound, 1e300)}


SOLVERS: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la certificate=False": partial(ours, certificate=False),
    "lowrank_la method='spir'": partial(ours, method="spir"),
    "scipy gelsd": partial(scipy_lstsq, driver="gelsd"),
    "scipy gelsy": partial(scipy_lstsq, driver="gelsy"),
    "numpy lstsq": numpy_lstsq,
    "numpy qr": qr_solve,
    "torch gels": torch_gels,
}
FEWER = {name: SOLVERS[name] for name in ("lowrank_la", "lowrank_la certificate=False", "scipy gelsy", "torch gels")}
SKETCHES: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la method='solve'": partial(ours, method="solve"),
    "lowrank_la method='solve', certificate=False": partial(ours, method="solve", certificate=False),
    "scipy clarkson_woodruff, 20 d rows": partial(clarkson_woodruff, rows=20),
    "scipy clarkson_woodruff, 100 d rows": partial(clarkson_woodruff, rows=100),
    "numpy qr": qr_solve,
    "torch gels": torch_gels,
}
SHAPES = {"1048576 x 100": (1 << 20, 100), "200000 x 500": (200_000, 500)}

TASKS = [
    *[
        Task(f"lstsq {name}, condition {cond:.0e}", partial(_setup, n=n, d=d, cond=cond), SOLVERS if cond == 1e8 else FEWER, error)
        for cond in (1e8, 1e2, 1e12)  # LAPACK takes the same time for each
        for name, (n, d) in SHAPES.items()
    ],
    *[
        Task(f"sketch and solve {name}, condition 1e2", partial(_setup, n=n, d=d, cond=1e2), SKETCHES, error)
        for name, (n, d) in SHAPES.items()
    ],
    *[
        Task(f"lstsq 1048576 x 100, {words}", partial(_setup, n=1 << 20, d=100, cond=cond, kind=kind), FEWER, error)
        for words, kind, cond in [
            ("coherent rows", "coherent", 1e8),
            ("column scales 1e-8 to 1e8", "scaled", 1e2),
            ("Fortran order", "fortran", 1e8),
            ("condition 1e14, nearly rank deficient", "plain", 1e14),
        ]
    ],
]
