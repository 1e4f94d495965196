"""Every version of the sketching kernels against the dense matrix of the reference."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import pool, sparse_sign, srht
from lowrank_la.kernels._engine import use_engine

SEED, STREAMS = 2**63 + 5, srht.Streams(1, 2, 3, 4)


def data(n, c, dtype=np.float64, order="C", seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, c)) + (1j * rng.standard_normal((n, c)) if np.dtype(dtype).kind == "c" else 0)
    return np.asarray(A, dtype=dtype, order=order)


def close(x, y):
    assert x.dtype == y.dtype
    eps = np.finfo(x.dtype).eps
    np.testing.assert_allclose(x, y, rtol=0, atol=100 * eps * max(1.0, float(np.abs(y).max(initial=0))))


@settings(max_examples=40)
@given(
    n=st.integers(0, 700),
    c=st.sampled_from([0, 1, 5, 8, 13, 40, 130]),
    zeta=st.integers(1, 11),
    block=st.integers(1, 70),
    offset=st.sampled_from([0, 3, 2**33]),
    dtype=st.sampled_from([np.float32, np.float64, np.complex64, np.complex128]),
    order=st.sampled_from(["C", "F"]),
    weighted=st.booleans(),
)
def test_sparse_sign(n, c, zeta, block, offset, dtype, order, weighted):
    A, scale = data(n, c, dtype, order), np.linspace(-1, 2, n).astype(np.dtype(dtype).type(0).real.dtype) if weighted else None
    arguments = SEED, 7, zeta * block, zeta, offset, scale
    close(sparse_sign.cpu(A, *arguments), sparse_sign.reference(A, *arguments))


def test_sparse_sign_in_panels_and_parts():
    A, B = data(10_000, 150), data(10_000, 3)
    for n, height in ((10_000, 16), (10_000, 2400), (100, 8000)):
        arguments = SEED, 7, height, 8, 0, None
        close(sparse_sign.cpu(A[:n], *arguments), sparse_sign.reference(A[:n], *arguments))
        close(sparse_sign.cpu(A[:n], *arguments, B[:n]), sparse_sign.reference(A[:n], *arguments, B[:n]))


@settings(max_examples=20)
@given(
    c=st.sampled_from([0, 1, 8, 30]),
    k=st.sampled_from([0, 1, 9]),
    dtype=st.sampled_from([np.float32, np.float64, np.complex128]),
    orders=st.tuples(*[st.sampled_from(["C", "F"])] * 2),
    weighted=st.booleans(),
)
def test_two_matrices_side_by_side(c, k, dtype, orders, weighted):
    A, B = data(300, c, dtype, orders[0]), data(300, k, dtype, orders[1], seed=1)
    arguments = SEED, 7, 24, 4, 5, np.linspace(-1, 2, 300) if weighted else None
    close(sparse_sign.cpu(A, *arguments, B), sparse_sign.reference(A, *arguments, B).astype(dtype))


@settings(max_examples=20)
@given(n=st.integers(0, 200), c=st.integers(1, 20), zeta=st.integers(1, 9), weighted=st.booleans(), seed=st.integers(0, 99))
def test_compressed_rows(n, c, zeta, weighted, seed):
    A = scipy.sparse.random_array((n, c), density=0.2, format="csr", rng=seed)
    arguments = c, SEED, 7, 3 * zeta, zeta, 5, np.linspace(-1, 2, n) if weighted else None
    expected = sparse_sign.reference(A.toarray(), *arguments[1:])
    close(sparse_sign.csr_cpu(A.data, A.indices, A.indptr, *arguments), expected)
    close(sparse_sign.csr_reference(A.data, A.indices, A.indptr, *arguments), expected)


def test_strided_and_read_only_views():
    A = data(300, 20)[::-2, 1::3]
    A.flags.writeable = False
    close(sparse_sign.cpu(A, SEED, 7, 24, 8, 0, None), sparse_sign.reference(A, SEED, 7, 24, 8, 0, None))


def test_nan_is_never_lost_and_never_invented():
    A = data(300, 5)
    A[17, 2] = np.nan
    bad = np.isnan(sparse_sign.cpu(A, SEED, 7, 24, 8, 0, None))
    assert bad[:, 2].sum() == 8
    assert bad.sum() == 8


def test_rows_and_signs_are_uniform():
    targets, signs = sparse_sign.entries(np.empty(0), 1, 7, 40, 8, np.arange(20_000))
    counts = np.bincount(targets.ravel(), minlength=40)
    assert abs(counts - 4000).max() < 5 * np.sqrt(4000)
    assert abs(signs.sum()) < 5 * np.sqrt(signs.size)
    np.testing.assert_array_equal(targets // 5, np.broadcast_to(np.arange(8), targets.shape))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 100, 1024, 5000])
def test_feistel_is_a_permutation(n):
    seen = srht.permutation(9, 3, 7, n)
    np.testing.assert_array_equal(np.sort(seen), np.arange(n))
    if n & (n - 1) == 0:
        np.testing.assert_array_equal(seen, srht.permute(np.empty(0), 9, 3, n, np.full(n, 7), np.arange(n)))


def test_feistel_looks_random():
    fixed = [int((srht.permutation(seed, 3, 0, 64) == np.arange(64)).sum()) for seed in range(400)]
    assert abs(np.mean(fixed) - 1) < 5 / 20  # fixed points of a random permutation: mean 1, variance 1
    first = np.bincount([srht.permutation(seed, 3, 0, 16)[5] for seed in range(1600)], minlength=16)
    assert abs(first - 100).max() < 50


@settings(max_examples=25)
@given(
    n=st.integers(0, 300),
    c=st.sampled_from([0, 1, 9, 40]),
    k=st.integers(0, 8),
    offset=st.sampled_from([0, 5, 1000]),
    dtype=st.sampled_from([np.float32, np.float64, np.complex128]),
    order=st.sampled_from(["C", "F"]),
)
def test_srht(n, c, k, offset, dtype, order):
    A, size = data(n, c, dtype, order), 1 << k
    arguments = SEED, STREAMS, max(1, size // 3), size
    close(srht.cpu(A, *arguments, offset, None), srht.reference(A, *arguments, offset, None))
    Y = data(arguments[2], c, dtype, order)
    close(srht.adjoint_cpu(Y, *arguments, offset, offset + n), srht.adjoint_reference(Y, *arguments, offset, offset + n))


@pytest.mark.parametrize("height", [1, 5, 64])
def test_pool(height):
    Y, Z = data(64, 3), data(height, 3)
    close(pool.cpu(Y, SEED, 1, 2, height), pool.reference(Y, SEED, 1, 2, height))
    close(pool.spread_cpu(Z, SEED, 1, 2, 64), pool.spread_reference(Z, SEED, 1, 2, 64))


def test_threads_do_not_change_a_bit():
    A = data(30_000, 23)
    with limit_threads(1):
        one = sparse_sign.cpu(A, SEED, 7, 80, 8, 0, None)
    np.testing.assert_array_equal(sparse_sign.cpu(A, SEED, 7, 80, 8, 0, None), one)


@pytest.mark.cudasim
@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@pytest.mark.parametrize("weighted", [False, True])
def test_cuda(dtype, weighted):
    A = data(37, 3, dtype)
    scale = np.linspace(-1, 2, 37).astype(A.real.dtype) if weighted else None
    B, Y = data(37, 2, dtype), data(12, 2, dtype)
    with use_engine("cuda"):
        close(sparse_sign.apply(A, SEED, 7, 12, 3, 5, scale), sparse_sign.reference(A, SEED, 7, 12, 3, 5, scale))
        close(sparse_sign.apply(A, SEED, 7, 12, 3, 5, scale, B), sparse_sign.reference(A, SEED, 7, 12, 3, 5, scale, B))
        close(sparse_sign.adjoint(Y, SEED, 7, 12, 3, 5, 42), sparse_sign.adjoint_reference(Y, SEED, 7, 12, 3, 5, 42))
        close(srht.apply(A, SEED, STREAMS, 12, 16, 5, scale), srht.reference(A, SEED, STREAMS, 12, 16, 5, scale))
        close(srht.adjoint(Y, SEED, STREAMS, 12, 16, 5, 42), srht.adjoint_reference(Y, SEED, STREAMS, 12, 16, 5, 42))


@pytest.mark.cudasim
def test_cuda_pool():
    Y, Z = data(32, 3), data(5, 3)
    with use_engine("cuda"):
        close(pool.apply(Y, SEED, 1, 2, 5), pool.reference(Y, SEED, 1, 2, 5))
        close(pool.spread(Z, SEED, 1, 2, 32), pool.spread_reference(Z, SEED, 1, 2, 32))
