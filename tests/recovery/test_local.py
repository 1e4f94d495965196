"""What the inliers determine: tangents, the local bound, redundancy, the dual gap, and claims over many small problems."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import linprog

from benchmarks.recovery_tables import anything
from lowrank_la import ConvergenceWarning
from lowrank_la.recovery import _local, _operators, _recover, _refine, _tangent, dense_gaussian, entry_mask, recover
from lowrank_la.recovery._tangent import Tangent
from tests.recovery.problems import KINDS, error, factors, matrix, normal, operator, spoiled

SHAPE, RANK, COUNT = (9, 7), 2, 63


def posed(kind, symmetric, *, noise=0.01, seed=0):
    """Return a problem at its true factors, with noise and gross errors."""
    shape, is_complex = ((9, 9) if symmetric else SHAPE), kind in ("complex", "fourier")
    op, A = operator(kind, COUNT, shape, seed)
    M = matrix(shape, RANK, seed, symmetric=symmetric, is_complex=is_complex)
    y, _ = spoiled(op.apply(*factors(M, RANK)), 0.1, seed)
    y = y + noise * np.median(abs(y)) * normal(np.random.default_rng(seed), COUNT, is_complex=is_complex)
    problem = _recover._pose(op, y, RANK, symmetric, 0.1, seed)
    P, s, Qh = np.linalg.svd(M)
    P, Q = P[:, :RANK], Qh[:RANK].conj().T
    return problem, A, (P, s[:RANK], P if symmetric else Q)


@pytest.mark.parametrize("matrix_free", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_tangents_keep_lengths_and_have_an_adjoint(kind, symmetric, matrix_free, monkeypatch):
    monkeypatch.setattr(_operators, "SMALL", 0 if matrix_free else 1 << 18)
    problem, A, (P, _, Q) = posed(kind, symmetric)
    rng = np.random.default_rng(0)
    tangent = Tangent(problem, P, Q, problem.fitted * rng.random(COUNT))
    X = tangent.project(rng.standard_normal((tangent.size, 3)))
    dU, dV = tangent.factors(X)
    H = dU @ Q.conj().T + P @ dV.conj().transpose(0, 2, 1)
    np.testing.assert_allclose(np.linalg.norm(H, axis=(1, 2)), np.linalg.norm(X, axis=0), rtol=1e-12)
    image = tangent.image(X)
    np.testing.assert_allclose(image, tangent.w[:, None] * np.einsum("lij,tij->lt", A.conj(), H), atol=1e-12)
    back = tangent.adjoint(problem.y[:, None])[:, 0]
    np.testing.assert_allclose(X.T @ back, np.real(image.conj().T @ problem.y), rtol=1e-9, atol=1e-12)
    assert np.linalg.matrix_rank(tangent.project(np.eye(tangent.size))) == tangent.dimension


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_findings_are_those_of_a_dense_decomposition(kind, symmetric, direct, monkeypatch):
    monkeypatch.setattr(_tangent, "DIRECT", 1000 if direct else 0)
    problem, A, terms = posed(kind, symmetric)
    P, s, Q = terms
    r = np.einsum("lij,ij->l", A.conj(), (P * s) @ Q.conj().T) - problem.y
    found = _local.examine(problem, terms, r)
    good = np.zeros(COUNT)
    good[problem.fit] = _refine.inliers(problem, r)[problem.fit]
    tangent = Tangent(problem, P, Q, good)
    J = tangent.image(tangent.project(np.eye(tangent.size)))
    W, values, _ = np.linalg.svd(np.vstack([J.real, J.imag]) if tangent.complex else J, full_matrices=False)
    taken = np.sum(W[:, : tangent.dimension] ** 2, axis=1)
    shares = 1 - ((taken[:COUNT] + taken[COUNT:]) / 2 if tangent.complex else taken)
    least = float(found.certificate.method.split()[4])
    assert 0.9 * values[tangent.dimension - 1] <= least <= 1.01 * values[tangent.dimension - 1]
    assert found.redundancy >= min(shares[good > 0]) - 1e-6
    assert found.redundancy <= (1.001 if direct else 1.5) * min(shares[good > 0])


def test_the_local_bound_holds_at_its_rate_and_is_not_loose():
    """Gaussian noise on the good measurements, a fifth of them grossly wrong: 80 draws of everything; few are not recovered."""
    ratios, trials = [], 80
    for seed in range(trials):
        op, _ = operator("rank_one", 260, (9, 8), seed)
        M = matrix((9, 8), 2, seed)
        y = spoiled(op.apply(*factors(M, 2)), 0.2, seed)[0]
        y = y + 0.01 * np.median(abs(y)) * np.random.default_rng(seed).standard_normal(260)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = recover(op, y, 4, rng=seed)
        if result.converged:
            ratios.append(result.local.bound / (error(result, M) * np.linalg.norm(M)))
    assert len(ratios) >= 0.95 * trials
    assert np.mean(np.asarray(ratios) >= 1) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / len(ratios))
    assert np.median(ratios) < 4.0


def test_no_other_right_factor_beats_the_dual_bound():
    """With the left factor fixed the least sum of absolute residuals is a linear program: HiGHS solves it."""
    op, A = operator("dense", 150, (7, 6))
    M = matrix((7, 6), 2)
    y = spoiled(op.apply(*factors(M, 2)), 0.2)[0]
    for noise in (0.0, 0.05):
        noisy = y + noise * np.median(abs(y)) * np.random.default_rng(1).standard_normal(150)
        result = recover(op, noisy, 2, validation=0.0, rng=0)
        B = np.einsum("lij,ik->ljk", A, result.U).reshape(150, -1)
        loss = np.sum(abs(B @ result.V.ravel() - noisy))
        bound, one = linprog_l1(B, noisy), (1 - result.dual_gap.bound) * loss
        assert one <= bound * (1 + 1e-9)
        assert result.dual_gap.bound < (1e-9 if noise == 0 else 0.1)


def linprog_l1(B, y):
    N, d = B.shape
    left = np.block([[B, -np.eye(N)], [-B, -np.eye(N)]])
    bounds = [(None, None)] * d + [(0, None)] * N
    return linprog(np.r_[np.zeros(d), np.ones(N)], left, np.r_[y, -y], bounds=bounds, method="highs").fun


def test_what_nothing_checks_is_told():
    """The last column has as many measurements as the rank: whatever they say is believed."""
    M = matrix((12, 10), 2)
    rows, cols = np.divmod(np.arange(120), 10)
    keep = (cols < 9) | (rows < 2)
    rows, cols = rows[keep], cols[keep]
    y = M[rows, cols]
    y[cols == 9] += 1.0
    op = entry_mask(rows, cols, shape=(12, 10))
    with pytest.warns(ConvergenceWarning, match="2 inliers are not checked by others"):
        result = recover(op, y, 2, validation=0.0, rng=0)
    assert not result.converged
    assert result.redundancy < 1e-9
    assert error(result, M) > 0.1
    np.testing.assert_allclose(result.to_dense()[:, :9], M[:, :9], atol=1e-8)


def test_a_column_that_nobody_saw_makes_the_local_bound_infinite():
    M = matrix((12, 10), 2)
    rows, cols = np.divmod(np.arange(108), 9)
    with pytest.warns(ConvergenceWarning, match="the inliers determine the matrix to inf only"):
        result = recover(entry_mask(rows, cols, shape=(12, 10)), M[rows, cols], 2, validation=0.0, rng=0)
    assert math.isinf(result.local.bound)
    assert not result.converged


def test_without_debiasing_nothing_local_is_claimed():
    op = dense_gaussian(400, (9, 8), rng=0)
    result = recover(op, op.apply(*factors(matrix((9, 8), 2), 2)), 4, debias=False, rng=0)
    assert (result.local.bound, result.dual_gap.bound, result.redundancy) == (math.inf, 1.0, 0.0)
    assert result.converged


def test_a_term_that_fits_gross_errors_is_taken_off():
    """A third term lowered the sum of absolute residuals here, and passed for part of the matrix."""
    op, _ = operator("mask", 200, (16, 16), 2)
    M = matrix((16, 16), 2, 2, symmetric=True)
    result = recover(op, spoiled(op.apply(*factors(M, 2)), 0.2, 2)[0], 10, symmetric=True, rng=0)
    assert result.rank == 2
    assert error(result, M) < 1e-8
    assert result.converged


def test_answers_that_claim_success_are_right():
    """Small problems of every kind: none that fits exactly is wrong, and the local bound holds but for its 5%."""
    claimed = held = right = 0
    for seed in range(60):
        problem = anything(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            result = recover(problem.op, problem.y, problem.rank, symmetric=problem.symmetric, rng=0)
        off = error(result, problem.M)
        right += off < 1e-6
        if result.converged:
            claimed += 1
            held += off * np.linalg.norm(problem.M) <= max(result.local.bound, 1e-9)
            assert off < 1e-6 or result.residual > 1e-9 * np.median(abs(problem.y)), seed
    assert right >= 40
    assert claimed >= 40
    assert held >= 0.95 * claimed
