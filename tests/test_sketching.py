"""Sketching operators: one S however it is reached, isometric on average, an embedding of subspaces."""

import itertools
import math
import re

import array_api_strict as strict
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.sketching import BGP, SRDCT, SRHT, CountSketch, Gaussian, Rademacher, SparseSign

KINDS = [SparseSign, SRHT, SRDCT, Rademacher, Gaussian, CountSketch, BGP]
EMBEDDINGS = [kind for kind in KINDS if kind is not CountSketch]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def problem(n=300, c=7, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, c))
    return (A + 1j * rng.standard_normal((n, c)) if np.dtype(dtype).kind == "c" else A).astype(dtype)


def close(x, y, rtol=1e-12):
    np.testing.assert_allclose(x, y, rtol=0, atol=rtol * max(1.0, float(np.abs(y).max(initial=0))))


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("order", ["C", "F"])
def test_apply_is_multiplication_by_the_block(kind, dtype, order):
    S, A = kind(24, 300, rng=3), np.asarray(problem(dtype=dtype), order=order)
    Y = S.apply(A)
    assert Y.dtype == dtype
    close(Y, S.block() @ A, 1e-12 if np.dtype(dtype).itemsize > 8 or dtype == np.float64 else 1e-5)
    close(S.apply(A[:, 0]), Y[:, 0], 1e-6)
    close(S.apply(A[::-1, ::2]), S.block() @ A[::-1, ::2], 1e-5 if np.finfo(dtype).eps > 1e-8 else 1e-12)


@every_kind
def test_block_is_a_slice_of_the_whole(kind):
    S = kind(20, 150, rng=5)
    whole = S.block()
    assert whole.shape == S.shape
    close(S.block(slice(3, 9), [0, 149, 7]), whole[3:9, :][:, [0, 149, 7]])
    close(S.block([4], slice(None, None, 10)), whole[[4], ::10])
    assert S.block(like=np.zeros(1, np.complex64)).dtype == np.float32


@every_kind
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 200), max_size=3), seed=st.integers(0, 2**64 - 1))
def test_chunks_add_up(kind, cuts, seed):
    S, A, scale = kind(9, 200, rng=seed), problem(200, 3), np.linspace(0, 2, 200)
    edges = [0, *sorted(cuts), 200]
    parts = [S.apply(A[a:b], row_offset=a, scale=scale[a:b]) for a, b in itertools.pairwise(edges)]
    whole = S.apply(A, scale=scale)
    total = parts[0]
    for part in parts[1:]:
        total = S.merge(total, part)
    close(total, whole)
    close(S.apply([A[a:b] for a, b in itertools.pairwise(edges)], scale=scale), whole)


@every_kind
def test_a_pair_is_sketched_as_its_parts(kind):
    S, A, B, scale = kind(9, 60, rng=4), problem(40, 3), problem(40, 2), np.linspace(0, 2, 40)
    for left in (A, A[::-1], np.asfortranarray(A), A.astype(np.float32), scipy.sparse.csr_array(A), [A[:10], A[10:]]):
        Y, Z = S.apply_pair(left, B, row_offset=7, scale=scale)
        close(Y, S.apply(left, row_offset=7, scale=scale))
        close(Z, S.apply(B, row_offset=7, scale=scale))
    with pytest.raises(ValueError, match="must end at row 60"):
        S.apply_pair(A, B, row_offset=25)


@every_kind
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_adjoint(kind, dtype):
    S, A = kind(24, 300, rng=3), problem(dtype=dtype)
    Y = problem(S.shape[0], 5, 1, dtype)
    close(Y.conj().T @ S.apply(A), S.adjoint(Y).conj().T @ A)
    close(S.adjoint(Y[:, 0]), S.adjoint(Y)[:, 0])


@every_kind
def test_same_matrix_on_every_backend(kind, backend):
    S, A, scale = kind(24, 300, rng=2**64 - 1), problem(), np.linspace(-1, 1, 300)
    Y = S.apply(backend.array(A), scale=backend.array(scale))
    close(backend.numpy(Y), S.block() @ (scale[:, None] * A))
    close(backend.numpy(S.adjoint(Y)), S.block().T @ backend.numpy(Y))
    close(backend.numpy(S.block(slice(2, 5), [1, 0], like=Y)), S.block(slice(2, 5), [1, 0]), 1e-14)
    assert type(Y) is type(backend.array(A))


@every_kind
def test_sparse_operators_and_generators(kind):
    S, A, scale = kind(24, 300, rng=3), problem(), np.linspace(-1, 1, 300)
    A[np.random.default_rng(1).random(A.shape) < 0.8] = 0
    expected = S.block() @ (scale[:, None] * A)
    for form in (scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array, scipy.sparse.linalg.aslinearoperator):
        close(S.apply(form(A), scale=scale), expected)
    close(S.apply(lambda: iter([A[:10], scipy.sparse.csr_array(A[10:])]), scale=scale), expected)
    close(S.apply(A.tolist(), scale=scale.tolist()), expected)


@every_kind
def test_threads_do_not_change_a_bit(kind):
    S, A = kind(64, 5000, rng=3), problem(5000, 37)
    with limit_threads(1):
        one = S.apply(A), S.adjoint(S.block(cols=[0]))
    two = S.apply(A), S.adjoint(S.block(cols=[0]))
    for x, y in zip(one, two, strict=True):
        if kind is BGP:  # its entries, which the adjoint meets here, come from a product by BLAS
            close(x, y, 1e-14)
        else:
            np.testing.assert_array_equal(x, y)


@every_kind
def test_isometric_in_expectation(kind):
    x = np.r_[np.ones(3), np.linspace(0, 1, 37)]
    x /= np.linalg.norm(x)
    squares = np.array([np.linalg.norm(kind(12, 40, rng=seed).apply(x)) ** 2 for seed in range(400)])
    assert abs(squares.mean() - 1) < 5 * squares.std() / 20


@pytest.mark.parametrize("kind", [SparseSign, SRHT, SRDCT, CountSketch])
def test_columns_have_unit_norm_on_average(kind):
    norms = np.linalg.norm(kind(32, 2000, rng=0).block(), axis=0)
    close(norms**2, np.ones(2000), 1e-12 if kind is not SRDCT else 1.0)
    assert abs(np.mean(norms**2) - 1) < 0.05


@pytest.mark.parametrize("kind", EMBEDDINGS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("coherent", [False, True])
def test_embeds_a_subspace(kind, coherent):
    n, k, d = 4096, 50, 200  # Gaussian theory: singular values from 0.5 to 1.5
    Q = np.eye(n, k) if coherent else np.linalg.qr(problem(n, k))[0]
    s = np.concatenate([np.linalg.svd(kind(d, n, rng=seed).apply(Q), compute_uv=False)[[0, -1]] for seed in range(5)])
    assert 0.35 < s.min() < 0.6
    assert 1.4 < s.max() < 1.7


def test_count_sketch_loses_coherent_rows():
    s = [np.linalg.svd(CountSketch(200, 4096, rng=seed).apply(np.eye(4096, 50)), compute_uv=False)[-1] for seed in range(5)]
    assert min(s) == 0


def test_sparse_sign_pattern():
    S = SparseSign(30, 400, rng=1)
    assert S.shape == (32, 400)
    blocks = S.block().reshape(8, 4, 400)
    close(abs(blocks).sum(axis=1), np.full((8, 400), 1 / math.sqrt(8)), 1e-15)


def test_srht_of_a_whole_block_is_orthogonal():
    S = SRHT(64, 64, rng=1).block()
    close(S.T @ S, np.eye(64), 1e-14)


@every_kind
def test_far_rows(kind):
    if kind is BGP:
        pytest.skip("BGP transforms all n rows at once")
    S = kind(8, 2**40, rng=1)
    A = problem(5, 2)
    close(S.apply(A, row_offset=2**40 - 5), S.block(cols=range(2**40 - 5, 2**40)) @ A)


@every_kind
def test_empty(kind):
    S = kind(8, 20, rng=1)
    assert S.apply(np.ones((20, 0))).shape == (8, 0)
    close(S.apply(np.ones((0, 3)), row_offset=20), np.zeros((8, 3)))
    assert kind(3, 0, rng=1).apply(np.ones((0, 2))).shape == (3, 2)
    assert kind(3, 1, rng=1).apply([[2.0]]).shape == (3, 1)


@every_kind
def test_seed_tells_all(kind):
    S = kind(8, 30, rng=np.random.default_rng(4))
    close(kind(8, 30, rng=S.seed).block(), S.block())
    assert (kind(8, 30).block() != S.block()).any()
    assert re.fullmatch(rf"{kind.__name__}\(8, 30\) with seed {S.seed}", repr(S))


A = np.ones((30, 2))
S = SparseSign(8, 30, rng=0)
BAD = [
    ("d = 0", lambda: SRHT(0, 5), ValueError, "SRHT: d must be an integer of at least 1; got 0"),
    ("d = 2.5", lambda: Gaussian(2.5, 5), TypeError, "Gaussian: d must be an integer"),
    ("n < 0", lambda: BGP(5, -1), ValueError, "BGP: n must be an integer of at least 0; got -1"),
    ("zeta = 0", lambda: SparseSign(8, 30, zeta=0), ValueError, "SparseSign: zeta must be an integer of at least 1; got 0"),
    ("rng", lambda: SRDCT(8, 30, rng="x"), TypeError, "SRDCT: rng must be None"),
    ("negative seed", lambda: SRDCT(8, 30, rng=-1), ValueError, "SRDCT: rng must be an int from 0"),
    (
        "long A",
        lambda: S.apply(np.ones((31, 2))),
        ValueError,
        "SparseSign.apply: A must end at row 30 = n; got 31 rows from row_offset = 0",
    ),
    ("late A", lambda: S.apply(A, row_offset=1), ValueError, "got 30 rows from row_offset = 1"),
    ("offset", lambda: S.apply(A, row_offset=-1), ValueError, "row_offset must be an integer of at least 0; got -1"),
    ("three axes", lambda: S.apply(np.ones((3, 2, 2))), ValueError, "A must be 1-dimensional or 2-dimensional; got shape"),
    ("text", lambda: S.apply("no"), TypeError, "SparseSign.apply: A must be an array of numbers"),
    ("scale", lambda: S.apply(A, scale=np.ones(3)), ValueError, re.escape("SparseSign.apply: scale must have shape (30,); got (3,)")),
    ("complex scale", lambda: S.apply(A, scale=np.ones(30) * 1j), TypeError, "SparseSign.apply: scale must be real"),
    ("no blocks", lambda: S.apply(iter(())), ValueError, "A must have at least one block of rows; got none"),
    ("two libraries", lambda: S.apply(A, scale=strict.ones(30)), TypeError, "arrays must belong to one library"),
    ("short Y", lambda: S.adjoint(np.ones((7, 2))), ValueError, "SparseSign.adjoint: Y must have 8 rows, as many as S"),
    ("row index", lambda: S.block([8]), ValueError, "SparseSign.block: rows must be a slice or a list of indices from 0 to 7"),
    ("column index", lambda: S.block(cols=[-1]), ValueError, "SparseSign.block: cols must be a slice"),
    ("merge", lambda: S.merge(np.ones((8, 2)), np.ones((8, 3))), ValueError, "SparseSign.merge: second must have shape"),
]


@pytest.mark.parametrize(("call", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
