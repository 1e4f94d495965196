"""Walsh-Hadamard transforms are exact on integers, so every comparison here is bit by bit."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_la import limit_threads
from lowrank_la.kernels import fwht
from lowrank_la.kernels._engine import use_engine
from lowrank_la.sketching import fwht as public


def integers(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).integers(-99, 99, shape).astype(dtype)


@pytest.mark.parametrize("n", [1, 2, 8, 64, 256])
def test_is_the_sylvester_matrix(n, backend):
    A = integers(n, 3)
    np.testing.assert_array_equal(backend.numpy(public(backend.array(A))), scipy.linalg.hadamard(n) @ A)
    np.testing.assert_array_equal(backend.numpy(public(backend.array(A.T), axis=-1)), A.T @ scipy.linalg.hadamard(n))


@settings(max_examples=60)
@given(
    k=st.integers(0, 13),
    before=st.integers(0, 5),
    after=st.sampled_from([0, 1, 2, 3, 7, 8, 15, 16, 31, 33, 65]),
    dtype=st.sampled_from([np.float32, np.float64, np.complex64, np.complex128]),
    overwrite=st.booleans(),
)
def test_versions_agree(k, before, after, dtype, overwrite):
    A = integers(before, 1 << k, after, dtype=dtype) * dtype(1 + 2j if np.dtype(dtype).kind == "c" else 1)
    expected = fwht.reference(A, 1, False)
    got = fwht.cpu(A.copy(), 1, overwrite)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("n", "c"), [(1 << 15, 5), (1 << 12, 100), (1 << 21, 1), (4, 20_000)])
def test_several_passes_and_panels(n, c):
    A = integers(n, c)
    np.testing.assert_array_equal(fwht.cpu(A, 0, False), fwht.reference(A, 0, False))
    np.testing.assert_array_equal(fwht.cpu(np.ascontiguousarray(A.T), -1, False), fwht.reference(A, 0, False).T)


@settings(max_examples=20)
@given(k=st.integers(0, 12), c=st.integers(1, 20), seed=st.integers(0, 99))
def test_involution_linearity_and_parseval(k, c, seed):
    n = 1 << k
    A, B = integers(n, c, seed=seed), integers(n, c, seed=seed + 1)
    H = fwht.cpu(A, 0, False)
    np.testing.assert_array_equal(fwht.cpu(H, 0, False), n * A)
    np.testing.assert_array_equal(fwht.cpu(A + 2 * B, 0, False), H + 2 * fwht.cpu(B, 0, False))
    np.testing.assert_array_equal((H**2).sum(axis=0), n * (A**2).sum(axis=0))


def test_memory():
    A = integers(64, 5)
    copy = A.copy()
    public(A)
    np.testing.assert_array_equal(A, copy)
    assert np.shares_memory(public(A, overwrite=True), A)
    frozen = copy.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(public(frozen, overwrite=True), A)
    np.testing.assert_array_equal(public(np.asfortranarray(copy)[::2], overwrite=True), public(copy[::2]))


def test_threads_do_not_change_a_bit():
    A = np.random.default_rng(0).standard_normal((1 << 14, 13))
    with limit_threads(1):
        one = fwht.cpu(A, 0, False)
    np.testing.assert_array_equal(fwht.cpu(A, 0, False), one)


@pytest.mark.parametrize(("A", "options", "message"), [
    (np.ones((6, 2)), {}, r"fwht: A must have a power of two of entries along axis 0; got shape \(6, 2\)"),
    (np.ones((0, 2)), {}, "power of two"),
    (np.ones(4), {"axis": 1}, "fwht: axis must be an integer between -1 and 0; got 1"),
])  # fmt: skip
def test_bad_input(A, options, message):
    with pytest.raises(ValueError, match=message):
        public(A, **options)


@pytest.mark.cudasim
@pytest.mark.parametrize("shape", [(1, 16, 3), (2, 1024, 1), (1, 8, 0), (1, 1, 4), (1, 4, 1100)])
@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_cuda(shape, dtype):
    A = integers(*shape, dtype=dtype)
    with use_engine("cuda"):
        np.testing.assert_array_equal(fwht.transform(A, 1, False), fwht.reference(A, 1, False))
