"""What theory promises of conjugate gradients, on random matrices; inputs of every odd kind."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from lowrank_la import ConvergenceWarning
from lowrank_la.solvers import conjugate_directions, conjugate_gradients, lsmr
from tests.solvers.problems import exact_solution, spd

seeds = st.integers(0, 10**6)
kinds = st.sampled_from(["real", "complex"])


def energy(A, e):
    return float(np.sqrt(abs(e.conj() @ (A @ e))))


@settings(max_examples=40)
@given(n=st.integers(1, 40), distinct=st.integers(1, 6), seed=seeds, kind=kinds)
def test_it_ends_after_as_many_steps_as_there_are_eigenvalues(n, distinct, seed, kind):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if kind == "complex" else 0))[0]
    values = rng.permutation(np.arange(1.0, distinct + 1))[np.arange(n) % distinct]
    A = (Q * values) @ Q.conj().T
    result = conjugate_gradients((A + A.conj().T) / 2, rng.standard_normal(n), tol=1e-8)
    assert result.converged
    assert result.n_iter <= min(n, distinct)


@settings(max_examples=25)
@given(n=st.integers(2, 30), digits=st.floats(0, 4), seed=seeds, kind=kinds)
def test_the_error_never_grows_in_the_norm_of_the_matrix(n, digits, seed, kind):
    A, b, errors = spd(n, 10.0**digits, seed, kind), np.random.default_rng(seed).standard_normal(n), []
    x = exact_solution(A, b).astype(A.dtype)
    for steps in range(1, 9):
        with np.errstate(all="raise"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *args, **options: None)
            errors.append(energy(A, conjugate_gradients(A, b, tol=1e-13, max_iter=steps).x - x))
    assert all(after <= before * (1 + 1e-9) + 1e-12 for before, after in zip([energy(A, x), *errors], errors, strict=False))


@settings(max_examples=25)
@given(n=st.integers(2, 40), digits=st.floats(0, 2), seed=seeds, kind=kinds)
def test_the_identity_as_a_direction_map_changes_nothing(n, digits, seed, kind):
    A, b = spd(n, 10.0**digits, seed, kind), np.random.default_rng(seed).standard_normal(n)
    ours, theirs = conjugate_gradients(A, b, tol=1e-6), conjugate_directions(A, b, lambda r: r, tol=1e-6)
    steps = min(len(ours.history), len(theirs.history), 8)
    np.testing.assert_allclose(ours.history[:steps], theirs.history[:steps], rtol=1e-5, atol=1e-10 * ours.history[0])
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-5 * np.linalg.norm(b))


@settings(max_examples=40)
@given(n=st.integers(1, 40), gap=st.floats(1e-3, 10), density=st.floats(0, 1), seed=seeds, sparse=st.booleans())
def test_gershgorins_bound_holds(n, gap, density, seed, sparse):
    rng = np.random.default_rng(seed)
    off = np.triu(rng.standard_normal((n, n)) * (rng.random((n, n)) < density), 1)
    off = off + off.T
    A, b = off + np.diag(abs(off).sum(axis=1) + gap), rng.standard_normal(n)
    result = conjugate_gradients(sp.csr_array(A) if sparse else A, b, tol=10.0 ** -rng.integers(2, 10))
    assert result.error.confidence == 1
    assert result.least_eigenvalue <= np.linalg.eigvalsh(A)[0] * (1 + 1e-12) + 1e-12
    assert energy(A, (exact_solution(A, b) - result.x).astype(float)) <= result.error.bound + 1e-15 * np.linalg.norm(b)


A = np.array([[4, 1, 0], [1, 3, 1], [0, 1, 2]])
b = np.array([1, 2, 3])
FORMATS = ["csr", "csc", "coo", "dia", "bsr", "lil", "dok"]
ODD = {
    **{f"sparse {name}": (sp.csr_array(A.astype(float)).asformat(name), b.astype(float)) for name in FORMATS},
    "sparse matrix class": (sp.csr_matrix(A.astype(float)), b.astype(float)),
    "sparse integers": (sp.csr_array(A), b),
    "integers": (A, b),
    "lists": (A.tolist(), b.tolist()),
    "bool": (A.astype(float), np.array([True, False, True])),
    "half": (A.astype(np.float16), b.astype(np.float16)),
    "mixed": (A.astype(np.float32), b.astype(np.float64)),
    "operator": (aslinearoperator(A.astype(float)), b.astype(float)),
    "one number": ([[2.0]], [3.0]),
    "read-only": (np.broadcast_to(2.0, (1, 1)), np.ones(1)),
    "reversed": (A.astype(float)[::-1, ::-1], b.astype(float)[::-1]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_inputs(name):
    matrix, rhs = ODD[name]
    dense = matrix.toarray() if sp.issparse(matrix) else A if name == "operator" else np.asarray(matrix)
    expected = np.linalg.solve(dense.astype(float), np.asarray(rhs, dtype=float))
    for result in (conjugate_gradients(matrix, rhs), conjugate_directions(matrix, rhs, lambda r: r), lsmr(matrix, rhs, tol=1e-12)):
        assert result.converged
        np.testing.assert_allclose(result.x, expected, atol=2e-3 if name == "half" else 1e-6)


def test_tensors_that_require_gradients_are_refused():
    torch = pytest.importorskip("torch")
    matrix, rhs = torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for solve in (conjugate_gradients, lsmr):
        with pytest.raises(TypeError, match=r"A must not require gradients, which this function cannot give; pass A.detach\(\)"):
            solve(matrix.clone().requires_grad_(), rhs)
        with pytest.raises(TypeError, match="b must not require gradients"):
            solve(matrix, rhs.clone().requires_grad_())
        with pytest.raises(TypeError, match="arrays must belong to one library"):
            solve(matrix, np.ones(3))


@pytest.mark.parametrize("solve", [conjugate_gradients, lsmr])
def test_nothing_and_scalars_are_refused(solve):
    with pytest.raises(ValueError, match="A must be"):
        solve(3.0, np.ones(1))
    with pytest.raises(TypeError, match="A must be an array of numbers; got NoneType"):
        solve(None, np.ones(1))
    with pytest.raises(TypeError, match="b must be an array of numbers; got NoneType"):
        solve(np.eye(2), None)
    with pytest.raises(ValueError, match="b must"):
        solve(np.eye(2), np.ones((2, 1, 1)))
    with pytest.warns(ConvergenceWarning):
        assert not solve(np.diag([1.0, 2, 3]), np.ones(3), max_iter=1).converged
