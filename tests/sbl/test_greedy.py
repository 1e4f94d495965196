"""Matching pursuit and least squares on a known support."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import orthogonal_mp

from lowrank_la.sbl import kronecker_omp, omp, oracle_lstsq
from tests.sbl import oracles

SHAPE = {"rows": (6, 8), "columns": (9, 10), "atoms": 2}


@given(seed=st.integers(0, 1000), complex_=st.booleans(), snr=st.sampled_from([5, 30, 200]))
@settings(max_examples=20)
def test_the_oracle_is_dense_least_squares(seed, complex_, snr):
    Y, A, _, _, support = oracles.problem(seed, **SHAPE, snr=snr, complex_=complex_)
    K, flat = np.kron(*A), np.flatnonzero(np.isin(np.arange(90), np.ravel_multi_index(np.ix_(*support), (9, 10))))
    x = np.zeros(90, dtype=K.dtype)
    x[flat] = np.linalg.lstsq(K[:, flat], Y.ravel())[0]
    result = oracle_lstsq(Y, A, support)
    assert np.allclose(result.x.ravel(), x, atol=1e-8 * np.abs(x).max())
    norm = np.linalg.norm(K @ x - Y.ravel())
    assert result.residual_norm == pytest.approx(norm, abs=1e-12 * np.linalg.norm(Y))
    true = np.linalg.norm(K.astype(np.clongdouble) @ result.x.ravel() - Y.ravel())
    assert true <= result.certificate.bound <= true + 1e-9 * np.linalg.norm(Y)


def test_the_oracle_takes_columns_that_depend_on_each_other():
    A = np.ones((4, 3))
    result = oracle_lstsq(np.full(4, 3.0), [A], [[0, 1, 2]])
    assert np.allclose(result.x, 1)
    assert oracle_lstsq(np.ones(4), [A], [[]]).residual_norm == pytest.approx(2)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_omp_is_that_of_scikit_learn_for_columns_of_length_one(seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((20, 40))
    A /= np.linalg.norm(A, axis=0)
    y = rng.standard_normal(20)
    ours = omp(y, A, n_nonzero=6)
    assert np.allclose(ours.x, orthogonal_mp(A, y, n_nonzero_coefs=6), atol=1e-10)
    assert ours.n_iter == 6
    assert ours.converged


@pytest.mark.parametrize("tol", [None, 1e-6])
def test_omp_with_snapshots_stops_when_the_data_are_fitted(tol):
    rng = np.random.default_rng(1)
    A, X = rng.standard_normal((30, 60)), np.zeros((60, 5))
    X[[3, 40]] = rng.standard_normal((2, 5))
    result = omp(A @ X, A, tol=tol)
    assert list(result.support[0]) == [3, 40]
    assert np.allclose(result.x, X)
    assert result.converged


@pytest.mark.parametrize("complex_", [False, True])
def test_the_criterion_keeps_what_pays(complex_):
    """Without a noise level: at least nine of ten supports of plain and of Kronecker pursuit have the right size or one less."""
    sizes = {"omp": [], "kronecker_omp": []}
    for seed in range(10):
        y, [A], _, _, _ = oracles.problem(seed, (80,), (120,), 3, 20, complex_=complex_)
        sizes["omp"].append(len(omp(y, A).support[0]))
        Y, factors, _, _, _ = oracles.problem(seed, (12, 12), (16, 16), 1, 20, complex_=complex_)
        sizes["kronecker_omp"].append(1 + sum(len(s) for s in kronecker_omp(Y, factors).support))
    for counts in sizes.values():
        assert sum(2 <= count <= 3 for count in counts) >= 9


@pytest.mark.parametrize("complex_", [False, True])
def test_omp_with_factors_is_that_of_their_product(complex_):
    Y, A, _, _, _ = oracles.problem(3, (6, 8, 5), (9, 10, 4), 2, 20, complex_=complex_)
    y = np.stack([Y.ravel(), 2 * Y.ravel()[::-1]], axis=1)
    ours, plain = omp(y, A, n_nonzero=7), omp(y, np.kron(np.kron(A[0], A[1]), A[2]), n_nonzero=7)
    assert np.array_equal(ours.support[0], plain.support[0])
    assert np.allclose(ours.x, plain.x)
    assert ours.certificate.bound == pytest.approx(plain.certificate.bound, rel=1e-6)


def test_omp_takes_complex_data_with_a_real_dictionary():
    rng = np.random.default_rng(9)
    A, x = rng.standard_normal((20, 40)), np.zeros(40, dtype=complex)
    x[[3, 30]] = [1 + 2j, -1j]
    assert np.allclose(omp(A @ x, A).x, x)
    assert np.allclose(kronecker_omp(A @ x, [A]).x, x)


def test_omp_passes_over_columns_that_are_dead_or_depend_on_others():
    A = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    result = omp(np.array([2.0, 1.0]), A, n_nonzero=2)
    assert np.count_nonzero(result.x) == 1
    assert result.residual_norm == pytest.approx(1)
    assert not result.converged
    assert not np.any(omp(np.ones(3), np.zeros((3, 2))).x)


@pytest.mark.parametrize("complex_", [False, True])
def test_kronecker_omp_finds_easy_signals(complex_):
    for seed in range(5):
        Y, A, X, _, support = oracles.problem(seed, (12, 12), (16, 16), 2, 60, complex_=complex_)
        result = kronecker_omp(Y, A, n_atoms=6, tol=1e-2)
        assert result.residual_norm <= 1e-2 * np.linalg.norm(Y) or all(len(s) == 6 for s in result.support)
        if all(set(a) == set(b) for a, b in zip(result.support, support, strict=True)):
            assert np.allclose(result.x, oracle_lstsq(Y, A, support).x)
    assert oracles.error(result.x, X) < 1e-2


def test_kronecker_omp_respects_limits():
    Y, A, _, _, _ = oracles.problem(6, **SHAPE, snr=0)
    result = kronecker_omp(Y, A, n_atoms=[1, 3], tol=0)
    assert [len(s) for s in result.support] == [1, 3]
    assert not result.converged


@pytest.mark.parametrize("method", ["omp", "kronecker_omp", "oracle_lstsq"])
def test_zero_data_give_zeros(method):
    A = np.random.default_rng(7).standard_normal((4, 6))
    calls = {
        "omp": lambda: omp(np.zeros(4), A),
        "kronecker_omp": lambda: kronecker_omp(np.zeros((4, 4)), [A, A]),
        "oracle_lstsq": lambda: oracle_lstsq(np.zeros((4, 4)), [A, A], [[1], [2, 3]]),
    }
    result = calls[method]()
    assert not np.any(result.x)
    assert result.converged


def test_backends(backend):
    Y, A, _, _, support = oracles.problem(8, **SHAPE, snr=40, complex_=True)
    factors = [backend.array(a) for a in A]
    for ours, expected in [
        (oracle_lstsq(backend.array(Y), factors, support), oracle_lstsq(Y, A, support)),
        (kronecker_omp(backend.array(Y), factors), kronecker_omp(Y, A)),
        (omp(backend.array(Y[:, 0]), factors[0], n_nonzero=3), omp(Y[:, 0], A[0], n_nonzero=3)),
    ]:
        assert np.allclose(backend.numpy(ours.x), expected.x, atol=1e-10)
        assert all(np.array_equal(backend.numpy(a), b) for a, b in zip(ours.support, expected.support, strict=True))


Y0, A0 = np.ones((3, 4)), [np.ones((3, 5)), np.ones((4, 6))]
BAD = [
    ("rows", omp, (np.ones(4), A0[0]), {}, ValueError, "omp: y must have 3 rows, as many as A"),
    ("count", omp, (np.ones(3), A0[0]), {"n_nonzero": 9}, ValueError, "omp: n_nonzero must be an integer between 1 and 3"),
    ("tolerance", kronecker_omp, (Y0, A0), {"tol": 2}, ValueError, "kronecker_omp: tol must be"),
    ("atoms", kronecker_omp, (Y0, A0), {"n_atoms": [1]}, ValueError, "n_atoms must be an integer or 2 of them"),
    ("order", kronecker_omp, (Y0.T, A0), {}, ValueError, "permute the factors"),
    ("supports", oracle_lstsq, (Y0, A0, [[1]]), {}, ValueError, "support must have one sequence of indices for each of 2 factors"),
    ("index", oracle_lstsq, (Y0, A0, [[1], [6]]), {}, ValueError, r"support\[1\]\[0\] must be an integer between 0 and 5"),
    ("mask", oracle_lstsq, (Y0, A0, [[1], np.ones(6, dtype=bool)]), {}, TypeError, r"support\[1\]\[0\] must be an integer"),
    ("bare", oracle_lstsq, (Y0, A0, [[1], 2]), {}, TypeError, r"support\[1\] must be a sequence of indices; got int"),
    ("factors", omp, (np.ones(4), A0), {}, ValueError, "omp: y must have 12 rows, as many as A"),
]


@pytest.mark.parametrize(("function", "args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(function, args, options, error, message):
    with pytest.raises(error, match=message):
        function(*args, **options)
