"""Self-calibration: `self_calibrate` beside alternating least squares and beside SciPy on the full linear system.

No maintained package does this problem as such. The peers are what users write: alternating least squares with the averaging of every
second step that radio astronomy uses (StEFCal), in NumPy; the smallest singular vector of the sparse system by `svds`; its least-squares
form by `lsqr`. All start from the same data; the error is that of the gains after the scale is aligned.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task
from lowrank_la import ConvergenceWarning
from lowrank_la.calibration import CodedFourier, self_calibrate


@dataclass(frozen=True)
class Problem:
    """Measurements of known gains."""

    model: str
    Y: np.ndarray
    A: Any
    d: np.ndarray


def gaussian(model: str, m: int, n: int, p: int, snr: float) -> Problem:
    """Draw complex Gaussian matrices and signals, gains between 0.5 and 1.5 with random phases."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / 2**0.5

    A = normal(m, n) if model == "snapshots" else normal(p, m, n)
    d = rng.uniform(0.5, 1.5, m) * np.exp(2j * np.pi * rng.random(m))
    X = normal(n) if model == "repeated" else normal(p, n)
    clean = d * (X @ A.T if A.ndim == 2 else (A @ np.broadcast_to(X, (p, n))[:, :, None])[..., 0])
    return Problem(model, clean + 10 ** (-snr / 20) * np.sqrt(np.mean(abs(clean) ** 2)) * normal(p, m), A, d)


def coded(m: int, p: int, snr: float) -> Problem:
    """Draw masks of signs before a Fourier transform, one signal."""
    rng = np.random.default_rng(0)
    A = CodedFourier(rng.choice([-1.0, 1.0], (p, m)))
    d = rng.uniform(0.5, 1.5, m) * np.exp(2j * np.pi * rng.random(m))
    clean = d * A.apply(rng.standard_normal(m))
    noise = rng.standard_normal((p, m)) + 1j * rng.standard_normal((p, m))
    return Problem("repeated", clean + 10 ** (-snr / 20) * np.sqrt(np.mean(abs(clean) ** 2) / 2) * noise, A, d)


def ours(problem: Problem, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the error stands beside the time
        return self_calibrate(problem.Y, problem.A, model=problem.model, **options).d


def alternating(problem: Problem, steps: int = 300, tol: float = 1e-7) -> np.ndarray:
    """Alternate from gains of one; every second time the mean of two steps."""
    Y, A, model = problem.Y, problem.A, problem.model
    d, last = np.ones(Y.shape[1], dtype=complex), np.inf
    for step in range(steps):
        DA = d[:, None] * A
        if model == "snapshots":
            Z = (A @ np.linalg.lstsq(DA, Y.T, rcond=None)[0]).T
        elif model == "repeated":
            Z = A @ np.linalg.lstsq(DA.reshape(-1, A.shape[2]), Y.ravel(), rcond=None)[0]
        else:
            normal = DA.conj().transpose(0, 2, 1)
            Z = (A @ np.linalg.solve(normal @ DA, normal @ Y[:, :, None]))[..., 0]
        new = np.sum(Z.conj() * Y, axis=0) / np.sum(abs(Z) ** 2, axis=0)
        d = (d + new) / 2 if step % 2 else new
        misfit = float(np.linalg.norm(Y - d * Z))
        if last - misfit < tol * misfit and step % 2 == 0:
            break
        last = misfit
    return d


def _system(problem: Problem) -> Any:
    """Build [diag(y_l), -A_l] for all l as one sparse matrix."""
    import scipy.sparse as sp

    Y, A, p = problem.Y, problem.A, len(problem.Y)
    left = sp.vstack([sp.diags_array(y) for y in Y])
    each = [-A] * p if A.ndim == 2 else list(-A)
    right = sp.vstack([sp.csr_array(a) for a in each]) if problem.model == "repeated" else sp.block_diag(each)
    return sp.hstack([left, right]).tocsr()


def scipy_svds(problem: Problem) -> np.ndarray:
    """Find the smallest singular vector of the scaled system, by LOBPCG: ARPACK does not converge for the smallest."""
    from scipy.sparse.linalg import svds

    M = _system(problem)
    scale = 1 / np.sqrt(np.asarray(abs(M).power(2).sum(axis=0)).ravel())
    return 1 / (svds(M * scale, k=1, which="SM", solver="lobpcg", rng=0, maxiter=500)[2].conj()[0] * scale)[: problem.Y.shape[1]]


def scipy_lsqr(problem: Problem) -> np.ndarray:
    """Fix the first gain and solve the rest by least squares."""
    from scipy.sparse.linalg import lsqr

    M = _system(problem)
    rest, first = M[:, 1:], M[:, [0]].toarray()[:, 0]
    scale = 1 / np.sqrt(np.asarray(abs(rest).power(2).sum(axis=0)).ravel())
    z = lsqr(rest * scale, -first, atol=1e-10, btol=1e-10, iter_lim=2000)[0] * scale
    return 1 / np.concatenate([[1.0], z[: problem.Y.shape[1] - 1]])


def error(problem: Problem, d: np.ndarray) -> Mapping[str, float]:
    """Relative error of the gains after alignment."""
    scale = np.vdot(d, problem.d) / np.vdot(d, d)
    return {"error of the gains": float(np.linalg.norm(scale * d - problem.d) / np.linalg.norm(problem.d))}


def _gaussian(size: str, model: str, m: int, n: int, p: int, snr: float) -> Problem:
    return gaussian(model, m, n, p, snr) if size == "full" else gaussian(model, 24, 6, {"snapshots": 12}.get(model, 5), snr)


def _coded(size: str) -> Problem:
    return coded(65536 if size == "full" else 2048, 4, 30)


DENSE: dict[str, Callable[[Problem], Any]] = {
    "lowrank_la": ours,
    "lowrank_la method='spectral'": partial(ours, method="spectral"),
    "NumPy, alternating least squares": alternating,
    "scipy lsqr, first gain fixed": scipy_lsqr,
    "scipy svds": scipy_svds,
}
CODED: dict[str, Callable[[Problem], Any]] = {"lowrank_la": partial(ours, max_iter=10), "lowrank_la max_iter=0": partial(ours, max_iter=0)}

TASKS = [
    Task("self-calibration, repeated 256 x 64, p = 4, 20 dB", partial(_gaussian, model="repeated", m=256, n=64, p=4, snr=20), DENSE, error),
    Task("self-calibration, diverse 128 x 64, p = 8, 20 dB", partial(_gaussian, model="diverse", m=128, n=64, p=8, snr=20), DENSE, error),
    Task(
        "self-calibration, snapshots 128 x 64, p = 20, 20 dB",
        partial(_gaussian, model="snapshots", m=128, n=64, p=20, snr=20),
        DENSE,
        error,
    ),
    Task("self-calibration, coded Fourier, m = 65536, p = 4, 30 dB", _coded, CODED, error),
]
