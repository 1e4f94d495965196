"""The order statistic behind the certificate, and the step that only changes the factors."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la.recovery import _certificate, _gradient, _problem, dense_gaussian, recover
from tests.recovery.problems import error, factors, matrix, spoiled


@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 20, 45, 200])
def test_the_order_is_the_least_that_exact_binomials_allow(count):
    def below(j):
        return Fraction(sum(math.comb(count, i) for i in range(j + 1)), 2**count)

    j = _certificate.order(count)
    assert below(j) >= Fraction(95, 100)
    assert j == 0 or below(j - 1) < Fraction(95, 100)
    assert math.isinf(_certificate.held_out(np.ones(count)).bound) == (count < 5)


def test_the_bound_holds_at_its_rate_and_is_not_loose():
    """Fresh measurements tell the median that the certificate bounds; 200 draws of measurements and errors."""
    shape, rank, count, trials = (8, 7), 1, 220, 200
    held, ratios = 0, []
    for seed in range(trials):
        op, fresh = dense_gaussian(count, shape, rng=seed), dense_gaussian(2000, shape, rng=10_000 + seed)
        M, noise = matrix(shape, rank, seed), np.random.default_rng(seed)
        y, y_fresh = (spoiled(o.apply(*factors(M, rank)), 0.2, seed + i)[0] for i, o in enumerate((op, fresh)))
        y = y + 0.05 * noise.standard_normal(count)
        result = recover(op, y, 2, validation=0.3, tol=3e-2, debias=False, rng=seed)
        residual = fresh.apply(result.U, result.V) - y_fresh - 0.05 * noise.standard_normal(2000)
        median = float(np.median(abs(residual)))
        held += median <= result.certificate.bound
        ratios.append(result.certificate.bound / median)
    assert held >= 0.95 * trials - 3 * math.sqrt(trials * 0.95 * 0.05)
    assert np.median(ratios) < 2.0


def test_measurements_behind_the_certificate_decide_nothing():
    op = dense_gaussian(400, (9, 8), rng=0)
    M = matrix((9, 8), 2)
    y = spoiled(op.apply(*factors(M, 2)), 0.2)[0]
    first = recover(op, y, 4, rng=0)
    assert len(first.held_out) == 20
    changed = y.copy()
    changed[first.held_out] += 1e3
    second = recover(op, changed, 4, rng=0)
    np.testing.assert_array_equal(first.U, second.U)
    assert second.certificate.bound > 100 > first.certificate.bound


def test_without_held_out_measurements_nothing_is_claimed():
    op = dense_gaussian(400, (9, 8), rng=0)
    M = matrix((9, 8), 2)
    result = recover(op, op.apply(*factors(M, 2)), 4, validation=0.0, rng=0)
    assert math.isinf(result.certificate.bound)
    assert error(result, M) < 1e-8


@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 4))
def test_rebalancing_changes_the_factors_only(seed, is_complex, rank):
    """The first factor may be rank deficient: some of its columns repeat."""
    rng = np.random.default_rng(seed)
    F, G = (rng.standard_normal((length, 4)) + (1j * rng.standard_normal((length, 4)) if is_complex else 0) for length in (9, 7))
    F[:, rank:] = F[:, :1]
    size = float(rng.uniform(0.1, 10))
    new_F, new_G = _gradient.rebalanced((F, G), size)
    np.testing.assert_allclose(new_F @ new_G.conj().T, F @ G.conj().T, atol=1e-11)
    np.testing.assert_allclose(new_F.conj().T @ new_F, size * np.eye(4), atol=1e-11)


@given(st.integers(0, 2**32), st.booleans())
def test_singular_triples_come_from_the_factors(seed, symmetric):
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((8, 3))
    V = U if symmetric else rng.standard_normal((6, 3))
    P, s, Q = _problem.svd((U, V))
    np.testing.assert_allclose((P * s) @ Q.T, U @ V.T, atol=1e-10)
    np.testing.assert_allclose(s, np.linalg.svd(U @ V.T, compute_uv=False)[:3], atol=1e-9)
    assert (P is Q) == symmetric
