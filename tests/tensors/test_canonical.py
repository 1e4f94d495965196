"""Canonical tensors in Tucker format: relative tolerances, weights of any sign, duplicates, cancellation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la import ConvergenceWarning
from lowrank_la.tensors import _canonical, tucker
from tests.tensors import oracles

RNG = np.random.default_rng(0)


def terms(shape, count, seed=0, *, complex_values=False):
    rng = np.random.default_rng(seed)

    def normal(*size):
        return rng.standard_normal(size) + (1j * rng.standard_normal(size) if complex_values else 0)

    return normal(count), [normal(n, count) for n in shape]


def check(weights, factors, result, tol=None):
    T = oracles.canonical(weights, factors)
    size, error = float(np.linalg.norm(T.astype(complex))), oracles.error(T, result.core, result.factors)
    assert error <= result.certificate.bound
    assert error <= result.error * (1 + 1e-6) + 1e-12 * size
    if tol is not None:
        assert result.certificate.bound <= tol * size


@given(
    shape=st.lists(st.integers(1, 8), min_size=1, max_size=4).map(tuple),
    count=st.integers(1, 20),
    tol=st.floats(-8, -0.1),
    complex_values=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_certificates_hold(shape, count, tol, complex_values, seed):
    weights, factors = terms(shape, count, seed, complex_values=complex_values)
    with np.errstate(all="raise"):
        result = tucker((weights, factors), tol=10**tol)
    if np.linalg.norm(oracles.canonical(weights, factors).astype(complex)) > 1e-3 * np.sum(
        np.abs(_canonical.normalised(weights, factors)[0])
    ):
        check(weights, factors, result, 10**tol)
    check(weights, factors, result)


def test_ranks_are_those_of_the_dense_tensor():
    weights, factors = terms((30, 25, 20), 60)
    factors = [U[:, :4] @ np.random.default_rng(k).standard_normal((4, 60)) for k, U in enumerate(factors)]
    for tol in (1e-1, 1e-4, 1e-10):
        dense = tucker(np.real(oracles.canonical(weights, factors)).astype(float), tol=tol)
        result = tucker((weights, factors), tol=tol)
        assert result.ranks == dense.ranks
        check(weights, factors, result, tol)
    assert result.ranks == (4, 4, 4)


def test_scales_do_not_matter():
    weights, factors = terms((20, 20, 20), 30)
    weights = weights * 10.0 ** -np.arange(30)
    expected = tucker((weights, factors), tol=1e-5)
    for scale in (1e-20, 1e6, 1e20):
        assert tucker((scale * weights, factors), tol=1e-5).ranks == expected.ranks
        columns = 10.0 ** np.random.default_rng(0).uniform(-6, 6, 30)
        moved = [factors[0] * columns, factors[1] / columns, factors[2]]
        assert tucker((scale * weights, moved), tol=1e-5).ranks == expected.ranks


def test_zero_negative_and_missing_weights_and_duplicates():
    weights, factors = terms((9, 8, 7), 3)
    doubled = [np.concatenate([U, U, U[:, :1]], axis=1) for U in factors]
    more = np.concatenate([weights, -3 * weights, [0.0]])
    result = tucker((more, doubled), tol=1e-8)
    assert result.ranks == (3, 3, 3)
    np.testing.assert_allclose(result.to_dense(), np.real(oracles.canonical(-2 * weights, factors)).astype(float), atol=1e-7)
    plain = tucker((None, factors), tol=1e-8)
    np.testing.assert_allclose(plain.to_dense(), np.einsum("ir,jr,kr->ijk", *factors), atol=1e-6)
    zero = tucker((np.zeros(3), factors), tol=1e-3)
    assert zero.ranks == (1, 1, 1)
    assert zero.norm() == zero.error == 0


def test_terms_that_cancel():
    weights, factors = terms((9, 8, 7), 5)
    twice = [np.concatenate([U, U], axis=1) for U in factors]
    nothing = np.concatenate([weights, -weights])
    with pytest.warns(ConvergenceWarning, match="tucker: ranks"):
        result = tucker((nothing, twice), tol=1e-6)
    assert result.ranks == (1, 1, 1)
    assert result.norm() <= 1e-13 * np.sum(np.abs(_canonical.normalised(nothing, twice)[0]))
    nearly = np.concatenate([weights, -weights * (1 + 1e-9)])
    result = tucker((nearly, twice), tol=1e-3)
    check(nearly, twice, result)
    size = np.linalg.norm(oracles.canonical(nearly, twice).astype(complex))
    assert result.norm() == pytest.approx(size, rel=1e-3)
    assert _canonical.canonical_norm(nearly, twice) == pytest.approx(size, rel=1e-5)


def test_many_terms_and_given_ranks():
    weights, factors = terms((12, 10, 9), 3000)
    result = tucker((weights, factors), ranks=(3, 4, 5))
    assert result.ranks == (3, 4, 5)
    check(weights, factors, result)


def test_backends_and_dtypes(backend):
    weights, factors = terms((9, 8, 7), 4)
    expected = tucker((weights, factors), tol=1e-3)
    result = tucker((backend.array(weights), [backend.array(U) for U in factors]), tol=1e-3)
    assert type(result.core) is type(backend.array(weights))
    np.testing.assert_allclose(backend.numpy(result.to_dense()), expected.to_dense(), atol=1e-12)
    single = [backend.array(U.astype(np.float32)) for U in factors]
    result = tucker((None, single), tol=1e-3)
    assert result.core.dtype == single[0].dtype


BAD = [
    (
        "columns",
        (np.ones(2), [np.ones((3, 2)), np.ones((3, 4))]),
        {},
        ValueError,
        r"factors\[1\] must have 2 columns",
    ),
    ("weights", (np.ones(3), [np.ones((3, 2))]), {}, ValueError, r"weights must have shape \(2,\)"),
    ("none", (np.ones(3), []), {}, ValueError, "factors must have at least one array"),
    ("axes", (np.ones(3), [np.ones(3)]), {}, ValueError, r"factors\[0\] must be 2-dimensional"),
    ("NaN", (np.ones(2), [np.ones((3, 2)) * np.nan]), {}, ValueError, r"factors\[0\] must be finite"),
    ("method", (np.ones(2), [np.ones((3, 2))]), {"method": "hooi"}, ValueError, "method must be 'auto', and batched False"),
]


@pytest.mark.parametrize(("T", "kwargs", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(T, kwargs, error, message):
    with pytest.raises(error, match=f"tucker: {message}"):
        tucker(T, tol=0.1, **kwargs)
