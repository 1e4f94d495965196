"""The public function."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from lowrank_la import _arrays, _checks, _random, _threads, kernels
from lowrank_la._arrays import Array, Door
from lowrank_la._result import ConvergenceWarning
from lowrank_la.completion import _certificate, _fold, _full, _graph, _observations, _rank, _robust, _stationarity, _sweeps
from lowrank_la.completion._observations import Compressed, Parts
from lowrank_la.completion._problem import Factors, Options, Problem, pose, residuals
from lowrank_la.completion._result import CompletionResult, Sweep


def complete(
    M: Any,
    rank: int | Literal["auto"] = "auto",
    *,
    shape: tuple[int, int] | None = None,
    mask: Array | None = None,
    weights: Array | None = None,
    duplicates: Literal["error", "mean"] = "error",
    ridge: float | Literal["auto"] = "auto",
    bias: bool = False,
    loss: Literal["l2", "huber", "l1"] = "l2",
    nonnegative: bool = False,
    solver: Literal["auto", "chol", "cg", "sketch"] = "auto",
    init: Any = "auto",
    max_iter: int = 100,
    tol: float = 1e-3,
    validation: float = 0.05,
    rng: _random.RNG = None,
    progress: bool = False,
    callback: Callable[[Sweep], Any] | None = None,
) -> CompletionResult:
    """Fill in the missing entries of a low-rank matrix, and bound the error of the filled ones.

    Finds U (m, k) and V (n, k) with M ~ U V^T (plus a mean and biases) on the observed
    entries by alternating ridge regressions, and measures the answer on entries it set aside.

    Parameters
    ----------
    M : array (m, n), sparse matrix (m, n), or tuple (rows, cols, values) of arrays (N,)
        Dense: NaN means missing. Sparse (CSR, CSC, COO): **every stored entry is observed,
        stored zeros included**, and only those. Triples: 0-based ids and their values, any order.
    rank : int, 1 <= rank <= min(m, n), or "auto"
        Columns k of U and V. "auto" tries several and keeps the one that predicts
        held-out entries best; a rank far above the true one costs accuracy.
    shape : (m, n), with triples only
    mask : boolean array (m, n), with dense arrays only
        True where observed; NaN is then an error where the mask is True.
    weights : array like the values: (m, n) if dense, (N,) if triples or stored entries
        Nonnegative weights of the squared residuals; 0 makes an entry missing.
    duplicates : {"error", "mean"}
        What to do with a place that triples or stored entries give more than once. "mean": it counts
        once, with the mean of its values; with `weights`, with their weighted mean and the sum of the weights.
    ridge : float >= 0 or "auto"
        The objective is sum w (M - model)^2 + ridge (||U||_F^2 + ||V||_F^2), in squared units
        of M over units of M. "auto": the variance of the noise (by held-out entries) over that
        of the factors, estimated afresh at each sweep (empirical Bayes); vanishes without noise.
    bias : bool
        Model M_ij as mean + b_i + d_j + u_i . v_j: right for ratings, wasteful for matrices
        that are low-rank as they are.
    loss : {"l2", "huber", "l1"}
        Robust losses tolerate gross errors in some entries, by reweighting at each sweep.
    nonnegative : bool
        Require U >= 0 and V >= 0; excludes `bias`.
    solver : {"auto", "chol", "cg", "sketch"}
        How each row's regression is solved: Cholesky, conjugate gradients from the last
        sweep's answer, or conjugate gradients preconditioned by a sketch.
    init : {"auto", "spectral", "random"}, CompletionResult or tuple (U, V)
        Where to start. "auto": spectral if entries or the problem are small, else random.
    max_iter : int
        Sweeps at most, for each rank tried.
    tol : float
        Stop when the sweeps still to come would lower the mean squared held-out error by
        less than this share of it.
    validation : float, 0 <= validation <= 0.5
        Share of the entries to hold out: half of them decide when to stop and which rank,
        half give the certificate. None of them are fitted. 0: no certificate.
    rng : None, int or numpy.random.Generator
        An int gives the same answer on every backend and thread count, to rounding.
    progress : bool
        Show a bar (extra `progress`).
    callback : callable
        Called with the `Sweep` after each sweep; a true answer stops.

    Returns
    -------
    CompletionResult
        U, V, row_bias, col_bias in the namespace, device and dtype of the values, with
        `predict`, `tiles`, `to_dense`, `transform` (new rows), `save`, `load`, `plot`.
        certificate : bounds the root-mean-square error over the entries that were not
        fitted with confidence 0.95, **if entries are missing uniformly at random**.

    Raises
    ------
    ValueError
        No entry is observed, an observed one is infinite, a place is given twice, an id or
        an option is out of range, or shapes do not fit.
    TypeError
        M is complex, ids are not integers, the mask is not boolean, or arrays belong to
        different libraries.

    Warns
    -----
    ConvergenceWarning
        `max_iter` came first; Ctrl-C was pressed (the answer is the best so far); or there
        are fewer than 2 k (m + n) entries, too few to be sure of rank k.

    Notes
    -----
    Cost: 2 N k (k + 3) flops and (m + n) k^3 / 3 a sweep by Cholesky for N entries, usually 6 to 40
    sweeps; the first sweeps use a fraction of each row, and sums in float32 until the residual falls
    below 1e-3 of the data. Memory besides M: at most 40 bytes an entry
    (robust losses: 60), and 16 bytes per entry of the factors.

    Certificate: if the observed entries are a uniform sample, then, given how many were
    held out, those behind the certificate are a uniform sample of all entries that were not
    fitted. The empirical Bernstein inequality [4]_ for their squared errors bounds the mean
    over all of them; it needs a largest possible error, for which twice the largest
    residual among all observed entries is taken. If entries are missing for a reason that has to
    do with their values, the bound holds only for entries that are missing for no reason.

    The row regressions of [1]_ are solved there through sketches; here that is
    `solver="sketch"`, which pays for rows of thousands of entries and large k only.

    References
    ----------
    .. [1] Gu, Song, Yin and Zhang, Low rank matrix completion via robust alternating
       minimization in nearly linear time, ICLR 2024. Approximate row solves, their theory.
    .. [2] Jain, Netrapalli and Sanghavi, Low-rank matrix completion using alternating
       minimization, STOC 2013. Spectral start with clipping, alternation.
    .. [3] Keshavan, Montanari and Oh, Matrix completion from a few entries, IEEE Trans.
       Inf. Theory 56, 2010. Trimming of heavy rows and columns.
    .. [4] Maurer and Pontil, Empirical Bernstein bounds and sample variance penalization,
       COLT 2009. The inequality.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import complete
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 150))
    >>> M = np.where(rng.random(X.shape) < 0.4, X, np.nan)
    >>> result = complete(M, rank=4, rng=0)
    >>> bool(abs(result.to_dense() - X).max() < 1e-8)
    True
    >>> bool(result.certificate.bound < 1e-8)
    True
    """
    _checks.choice("complete", "duplicates", duplicates, ("error", "mean"))
    door, entries = _observations.read("complete", M, shape=shape, mask=mask, weights=weights, duplicates=duplicates)
    options = _options(entries.shape, rank, ridge, bias, loss, nonnegative, solver, init, max_iter, tol)
    validation = _checks.real("complete", "validation", validation, 0.0, 0.5)
    seed = _random.seed_of("complete", rng)
    full = _full.applies(entries, options)
    parts = _observations.split(entries, 0.0 if full and options.rank else validation, seed)
    if len(parts.train) == 0:
        raise ValueError(f"complete: validation must leave entries to fit; got {validation} of {len(entries)} entries")
    kept = entries if full else None
    del entries  # the parts are copies, and memory is promised
    with contextlib.nullcontext() if full else _threads.serial_blas():
        return _complete(door, parts, kept, options, seed, callback, progress)


def _complete(
    door: Door, parts: Parts, kept: Compressed | None, options: Options, seed: int, callback: Any, progress: bool
) -> CompletionResult:
    """Fit the entries; `kept` are all of them if the matrix is full."""
    problem = pose(parts, options, seed)
    parts = replace(parts, train=problem.rows)
    with _progress_bar(progress) as bar:
        monitor = _sweeps.Monitor(problem.scale, callback, bar)
        fit = _full.fit(problem) if kept is not None and options.rank else _rank.fit(problem, monitor, door.dtype)
    if kept is not None and not options.rank:
        parts = _observations.split(kept, 0.0, seed)
        problem = pose(parts, replace(options, rank=fit.factors.rank), seed)
        fit = _full.fit(problem)
    _warn(problem, fit)
    return _answer(door, parts, problem, fit, monitor)


def _options(M_shape: tuple[int, int], rank: Any, ridge: Any, bias: Any, loss: Any, *rest: Any) -> Options:
    nonnegative, solver, init, max_iter, tol = rest
    auto_rank = isinstance(rank, str) and rank == "auto"
    if not auto_rank:
        if isinstance(rank, str):
            raise ValueError(f"complete: rank must be an integer or 'auto'; got {rank!r}")
        rank = _checks.integer("complete", "rank", rank, 1, min(M_shape))
    if isinstance(ridge, str):
        _checks.choice("complete", "ridge", ridge, ("auto",))
    else:
        ridge = _checks.real("complete", "ridge", ridge, 0.0)
    _checks.choice("complete", "loss", loss, ("l2", "huber", "l1"))
    _checks.choice("complete", "solver", solver, ("auto", "chol", "cg", "sketch"))
    if nonnegative and bias:
        raise ValueError("complete: bias and nonnegative exclude each other: a constant row factor is a nonnegative bias already")
    init = init if isinstance(init, str) else _warm_start(M_shape, init, bias)
    if isinstance(init, str):
        _checks.choice("complete", "init", init, ("auto", "spectral", "random"))
    elif auto_rank:
        rank = init.rank
    max_iter = _checks.integer("complete", "max_iter", max_iter, 1)
    tol = _checks.real("complete", "tol", tol, 0.0)
    return Options(
        None if isinstance(rank, str) else rank,
        None if isinstance(ridge, str) else ridge,
        bool(bias),
        loss,
        bool(nonnegative),
        solver,
        init,
        max_iter,
        tol,
    )


def _warm_start(M_shape: tuple[int, int], init: Any, bias: bool) -> Factors:
    if isinstance(init, CompletionResult):
        factors = _fold.factors_of(init)
    elif isinstance(init, tuple) and len(init) == 2:
        _, [U, V] = _arrays.enter("complete", U=init[0], V=init[1])
        factors = Factors(_checks.ndim("complete", "init's U", U, 2), _checks.ndim("complete", "init's V", V, 2))
    else:
        raise TypeError(f"complete: init must be 'auto', 'spectral', 'random', a CompletionResult or (U, V); got {type(init).__name__}")
    _checks.shape("complete", "init's U", factors.U, (M_shape[0], factors.rank))
    _checks.shape("complete", "init's V", factors.V, (M_shape[1], factors.rank))
    if bool(factors.unit) and not bias:
        raise ValueError("complete: init has biases; pass bias=True")
    return factors


def _progress_bar(wanted: bool) -> Any:
    if not wanted:
        return contextlib.nullcontext()
    from tqdm.auto import tqdm

    return tqdm(unit=" sweeps", desc="complete")


def _warn(problem: Problem, fit: _sweeps.Fit) -> None:
    (m, n), rank, count = problem.shape, fit.factors.rank, len(problem.rows)
    if fit.ending == "interrupted":
        _say("interrupted; the answer is the best of the sweeps so far")
    elif fit.ending == "max_iter":
        _say(f"the error still fell by more than tol = {problem.options.tol:g} after {problem.options.max_iter} sweeps")
    if not fit.exact and count < 2 * rank * (m + n):
        _say(f"{count} entries are fewer than 2 k (m + n) = {2 * rank * (m + n)} for rank k = {rank}, which may not determine the matrix")


def _say(what: str) -> None:
    warnings.warn(f"complete: {what}", ConvergenceWarning, stacklevel=5)


def _answer(door: Door, parts: Parts, problem: Problem, fit: _sweeps.Fit, monitor: _sweeps.Monitor) -> CompletionResult:
    balanced = _sweeps.balance(fit.factors, problem.options.nonnegative)
    factors = _fill(problem, balanced)
    residual, largest, certifying = _left_over(parts, problem, factors)
    xp, rank = door.xp, factors.rank
    model = factors.scaled(problem.scale)
    row_bias, col_bias = model.biases
    return CompletionResult(
        U=door.leave(model.U),
        V=door.leave(model.V),
        row_bias=door.leave(row_bias),
        col_bias=door.leave(col_bias),
        mean=model.mean,
        rank=rank,
        s=door.leave(_sizes(xp, balanced) * problem.scale),
        ridge=fit.ridge * problem.scale,
        history=tuple(monitor.history),
        converged=fit.ending == "converged",
        n_iter=len(monitor.history),
        residual=residual,
        stationarity=_stationarity.stationarity(problem, balanced, fit),
        certificate=_certificate.exact(residual) if fit.exact else _certificate.held_out(certifying, largest),
        held_out=(door.leave(parts.test.rows), door.leave(parts.test.cols)),
        weak_rows=door.leave(xp.nonzero(problem.rows.degrees < rank)[0]),
        weak_cols=door.leave(xp.nonzero(problem.cols.degrees < rank)[0]),
        outliers=_robust.outliers(problem, factors),
        components=_graph.components(problem.rows, problem.cols),
        incoherence=(
            _incoherence(xp, balanced.U, problem.options.nonnegative),
            _incoherence(xp, balanced.V, problem.options.nonnegative),
        ),
    )


def _left_over(parts: Parts, problem: Problem, factors: Factors) -> tuple[float, float, Array]:
    """Return the root mean square and the largest of all residuals, and those of the certifying entries."""
    side, scale = problem.rows, problem.scale
    xp = _arrays.namespace(side.values)
    squares, largest = kernels.pairs.sizes(side.values, side.indices, side.indptr, *factors.plain)
    total, most, count = float(xp.sum(squares)), float(xp.max(largest)), len(side)
    aside = [residuals(factors, replace(part, values=part.values / scale)) for part in (parts.tune, parts.test)]
    for x in aside:
        total += float(xp.vecdot(x, x))
        most = max(most, float(xp.max(xp.abs(x)))) if x.shape[0] else most
        count += x.shape[0]
    return math.sqrt(total / count) * scale, most * scale, aside[1] * scale


def _fill(problem: Problem, factors: Factors) -> Factors:
    """Give rows and columns without entries the average factor of the others."""
    xp, k = _arrays.namespace(factors.left), factors.rank
    U = _fold.fill_empty(factors.U, problem.rows.degrees)
    V = _fold.fill_empty(factors.V, problem.cols.degrees)
    return replace(factors, left=xp.concat([U, factors.left[:, k:]], axis=1), right=xp.concat([V, factors.right[:, k:]], axis=1)).centred()


def _sizes(xp: Any, factors: Factors) -> Array:
    """Return the norms of the terms u_a v_a^T: the singular values, if the factors are balanced."""
    return xp.linalg.vector_norm(factors.U, axis=0) * xp.linalg.vector_norm(factors.V, axis=0)


def _incoherence(xp: Any, balanced: Array, nonnegative: bool) -> float:
    """Compare the longest row of an orthonormal basis with the average one."""
    lengths = xp.linalg.vector_norm(balanced, axis=0)
    basis = xp.linalg.qr(balanced)[0] if nonnegative else balanced / xp.where(lengths > 0, lengths, xp.ones_like(lengths))
    return float(xp.max(xp.linalg.vector_norm(basis, axis=1))) ** 2 * balanced.shape[0] / balanced.shape[1]
