"""Square matrices of every kind, functions of products among them."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from lowrank_la.factor import _square

RNG = np.random.default_rng(3)
A = RNG.standard_normal((30, 30))


def test_diagonals():
    S = sp.random_array((30, 30), density=0.3, rng=RNG) + sp.eye_array(30)
    for matrix, dense in ((A, A), (sp.csr_array(S), S.toarray()), ([A[:7], A[7:8], A[8:]], A), (A + 1j * A, A + 1j * A)):
        np.testing.assert_array_equal(_square.diagonal(_square.enter("f", matrix)), np.diag(dense))
    assert _square.diagonal(_square.enter("f", aslinearoperator(A))) is None
    single = _square.diagonal(_square.enter("f", A.astype(np.float32)))
    assert single is not None
    assert single.dtype == np.float64


def test_a_function_multiplies_in_the_callers_arrays(backend):
    inside = backend.array(A)

    def product(X):
        assert type(X) is type(inside)
        return inside @ X

    matrix = _square.enter("f", product, like=backend.array(np.zeros(30)))
    X = RNG.standard_normal((30, 4))
    if backend.name != "torch":
        np.testing.assert_allclose(backend.numpy(matrix.times(backend.array(X))), A @ X)
    else:
        np.testing.assert_allclose(matrix.times(X), A @ X)
    assert matrix.passes == 1
    assert _square.diagonal(matrix) is None


BAD = [
    ("not square", (A[:3],), {}, ValueError, "f: A must be square and not empty; got shape"),
    ("empty", (np.zeros((0, 0)),), {}, ValueError, "f: A must be square and not empty"),
    ("like beside an array", (A,), {"like": A[0]}, TypeError, "f: like must be None unless A is a function"),
    ("like of two dimensions", (lambda X: X,), {"like": A}, ValueError, "f: like must be 1-dimensional"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        _square.enter("f", *args, **options)


def test_a_function_that_answers_wrongly_is_found():
    matrix = _square.enter("f", lambda X: X[:3], like=np.zeros(30))
    with pytest.raises(ValueError, match=r"f: A\(X\) must have shape \(30, 2\); got \(3, 2\)"):
        matrix.times(A[:, :2])
    matrix = _square.enter("f", lambda X: X * np.nan, like=np.zeros(30))
    with pytest.raises(ValueError, match=r"f: A\(X\) must be finite; got 60 NaN"):
        matrix.times(A[:, :2])


def test_checks_of_symmetry_and_sign():
    matrix = _square.enter("f", A)
    _square.check_hermitian("f", matrix, 1e-14)
    with pytest.raises(ValueError, match="f: A must be symmetric"):
        _square.check_hermitian("f", matrix, 1e-3)
    _square.check_semidefinite("f", matrix, -1e-15, 1.0)
    with pytest.raises(ValueError, match=r"f: A must be positive semidefinite; got a Rayleigh quotient of -0\.001"):
        _square.check_semidefinite("f", matrix, -1e-3, 1.0)
