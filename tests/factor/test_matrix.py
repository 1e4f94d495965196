"""Every kind of input is the same matrix to an algorithm."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from lowrank_la.factor import _matrix

RNG = np.random.default_rng(5)
A = RNG.standard_normal((60, 9)) * (RNG.random((60, 9)) < 0.4) + 0.0
COMPLEX = A + 1j * np.roll(A, 3, axis=0)
CUTS = [(0, 7), (7, 8), (8, 60)]


def kinds(A):
    blocks = [A[i:j] for i, j in CUTS]
    return {
        "dense": A,
        "transposed view": np.ascontiguousarray(A.T).T,
        "strided": np.repeat(A, 2, axis=0)[::2],
        "csr": sp.csr_array(A),
        "csc": sp.csc_matrix(A),
        "operator": aslinearoperator(A),
        "list of blocks": blocks,
        "blocks again and again": lambda: iter(blocks),
        "sparse blocks": [sp.csr_array(block) for block in blocks],
    }


CASES = [pytest.param(matrix, kind, id=f"{label} {kind}") for label, matrix in (("real", A), ("complex", COMPLEX)) for kind in kinds(A)]


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize(("dense", "kind"), CASES)
def test_products_are_those_of_the_dense_matrix(dense, kind, centre):
    matrix = _matrix.enter("f", "A", kinds(dense)[kind])
    before = dense.copy()
    if centre:
        matrix, mean = _matrix.centred(matrix)
        np.testing.assert_allclose(mean, dense.mean(axis=0), rtol=1e-13)
        dense = dense - dense.mean(axis=0)
    X, Y = RNG.standard_normal((9, 4)), RNG.standard_normal((60, 3)) + 0 * dense[:, :3]
    for view, full in ((matrix, dense), (matrix.H, dense.conj().T)):
        left, right = (X, Y) if view is matrix else (Y, X)
        np.testing.assert_allclose(view.times(left), full @ left, atol=1e-13)
        np.testing.assert_allclose(view.adjoint_times(right), full.conj().T @ right, atol=1e-13)
        np.testing.assert_allclose(view.gram_times(left), full.conj().T @ (full @ left), atol=1e-12)
    assert matrix.H.H is matrix
    assert matrix.shape == dense.shape
    if kind != "operator":
        assert matrix.squared_norm == pytest.approx(np.linalg.norm(dense) ** 2, rel=1e-13)
        parts = [(block.toarray() if sp.issparse(block) else block) for _, block in matrix.blocks()]
        np.testing.assert_allclose(np.concatenate(parts), dense, atol=1e-15)
    assert np.array_equal(A if before.dtype == float else COMPLEX, before)


def test_works_on_every_backend(backend):
    matrix = _matrix.enter("f", "A", backend.array(A))
    X = RNG.standard_normal((9, 4))
    inside = _matrix.enter("f", "X", backend.array(X)).A
    np.testing.assert_allclose(backend.numpy(matrix.door.leave(matrix.gram_times(inside))), A.T @ (A @ X), atol=1e-12)
    view, mean = _matrix.centred(matrix)
    np.testing.assert_allclose(backend.numpy(matrix.door.leave(mean)), A.mean(axis=0), atol=1e-15)
    assert view.squared_norm == pytest.approx(np.linalg.norm(A - A.mean(axis=0)) ** 2)


def test_a_gram_product_of_blocks_is_one_pass():
    matrix = _matrix.enter("f", "A", [A[i:j] for i, j in CUTS])
    assert matrix.passes == 1
    view, _ = _matrix.centred(matrix)
    assert matrix.passes == 2
    view.gram_times(np.eye(9))
    assert view.passes == matrix.passes == 3
    assert _matrix.enter("f", "A", A).gram_times(np.eye(9)).shape == (9, 9)


def test_a_large_mean_does_not_spoil_the_centred_norm():
    shifted = RNG.standard_normal((500, 6)) + 1e7
    view, _ = _matrix.centred(_matrix.enter("f", "A", shifted))
    assert view.squared_norm == pytest.approx(np.linalg.norm(shifted - shifted.mean(axis=0)) ** 2, rel=1e-8)
    product = view.gram_times(np.eye(6))
    exact = (shifted - shifted.mean(axis=0)).T @ (shifted - shifted.mean(axis=0))
    np.testing.assert_allclose(product, exact, atol=1e-9 * np.linalg.norm(exact))


def test_float32_stays_float32_and_its_norm_is_summed_in_float64():
    big = RNG.standard_normal((3000, 400)).astype(np.float32)
    matrix = _matrix.enter("f", "A", big)
    assert matrix.times(np.ones((400, 1), dtype=np.float32)).dtype == np.float32
    assert matrix.squared_norm == pytest.approx(np.sum(big.astype(float) ** 2), rel=1e-13)


WITH_NAN = A.copy()
WITH_NAN[3, 4] = np.nan
BAD = [
    ("NaN", WITH_NAN, ValueError, "f: A must be finite; got 1 NaN or infinite entry out of 540, the first in row 3"),
    ("NaN in sparse", sp.csr_array(WITH_NAN), ValueError, "f: A must be finite; got 1 NaN"),
    ("vector", A[:, 0], ValueError, "f: A must be 2-dimensional; got shape"),
    ("text", "matrix", TypeError, "f: A must be an array of numbers; got str"),
    ("generator", (A[i:j] for i, j in CUTS), TypeError, "f: A must be a list of row blocks or a function"),
    ("no blocks", list, ValueError, "f: A must have at least one block of rows; got none"),
    ("blocks that do not fit", [A, A[:, :3]], ValueError, "f: A must have blocks with 9 columns, as the first; got shape"),
    ("overflow", A * 1e200, ValueError, "f: A must have entries whose squares do not overflow"),
    ("underflow", A * 1e-200, ValueError, "f: A must have entries whose squares do not underflow"),
]


@pytest.mark.parametrize(("bad", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(bad, error, message):
    with pytest.raises(error, match=message):
        _matrix.enter("f", "A", bad)


def test_an_operator_that_gives_nan_is_found():
    matrix = _matrix.enter("f", "A", aslinearoperator(WITH_NAN))
    with pytest.raises(ValueError, match="f: A must give finite products"):
        matrix.times(np.ones((9, 1)))


def test_repeated_places_of_sparse_matrices_count_once():
    repeated = sp.csr_matrix((np.array([1.0, 2.0, 5.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    matrix = _matrix.enter("f", "A", repeated)
    assert matrix.squared_norm == pytest.approx(34)
    assert repeated.nnz == 3
    assert _matrix.enter("f", "A", repeated.T).squared_norm == pytest.approx(34)


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_a_gram_product_of_sparse_rows_or_columns_is_one_pass(kind):
    matrix = _matrix.enter("f", "A", kinds(COMPLEX)[kind])
    Y = RNG.standard_normal((60, 3)) + 0j
    np.testing.assert_allclose(matrix.gram_times(Y[:9]), COMPLEX.conj().T @ (COMPLEX @ Y[:9]), atol=1e-12)
    np.testing.assert_allclose(matrix.H.gram_times(Y), COMPLEX @ (COMPLEX.conj().T @ Y), atol=1e-12)
    np.testing.assert_allclose(matrix.H.adjoint_gram_times(Y[:9]), COMPLEX.conj().T @ (COMPLEX @ Y[:9]), atol=1e-12)
    view, mean = _matrix.centred(matrix)
    centred = COMPLEX - mean
    np.testing.assert_allclose(view.gram_times(Y[:9]), centred.conj().T @ (centred @ Y[:9]), atol=1e-12)
    assert matrix.passes == 5


@pytest.mark.parametrize("wide", [A.T, COMPLEX.conj().T], ids=["real", "complex"])
def test_wide_matrices_in_columns_go_without_rows(wide, monkeypatch):
    given = sp.csc_array(wide)
    matrix = _matrix.enter("f", "A", given)
    monkeypatch.setattr(type(given), "tocsr", None)
    X, Y = RNG.standard_normal((60, 3)) + 0 * wide[:1, :3], RNG.standard_normal((9, 4)) + 0 * wide[:, :4]
    np.testing.assert_allclose(matrix.times(X), wide @ X, atol=1e-13)
    np.testing.assert_allclose(matrix.adjoint_times(Y), wide.conj().T @ Y, atol=1e-13)
    np.testing.assert_allclose(matrix.H.gram_times(Y), wide @ (wide.conj().T @ Y), atol=1e-12)
    assert np.shares_memory(matrix._columns[1], given.indices)
