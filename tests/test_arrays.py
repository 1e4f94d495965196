import numpy as np
import pytest
import scipy.sparse as sp

from lowrank_la import _arrays


def test_answers_leave_as_their_input_came(backend):
    for dtype in (np.float32, np.float64, np.complex64, np.complex128):
        A = backend.array(np.ones((3, 2), dtype=dtype))
        door, [inside] = _arrays.enter("f", A=A)
        out = door.leave(inside + inside)
        assert out.dtype == A.dtype
        assert _arrays.to_numpy(inside).dtype == dtype
        np.testing.assert_array_equal(backend.numpy(out), 2)


def test_integers_become_the_default_float(backend):
    A = backend.array(np.arange(6).reshape(3, 2))
    door, [inside] = _arrays.enter("f", A=A)
    xp = _arrays.namespace(A)
    expected = xp.__array_namespace_info__().default_dtypes()["real floating"]
    assert door.leave(inside).dtype == expected
    np.testing.assert_array_equal(backend.numpy(door.leave(inside)), backend.numpy(A))


def test_cpu_tensors_enter_without_a_copy():
    torch = pytest.importorskip("torch")
    A = torch.zeros(4, 3, dtype=torch.float64)
    _, [inside] = _arrays.enter("f", A=A)
    assert isinstance(inside, np.ndarray)
    inside[0, 0] = 5
    assert A[0, 0] == 5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_works_in_float32_and_leaves_as_half(dtype):
    torch = pytest.importorskip("torch")
    A = torch.ones(4, 3, dtype=getattr(torch, dtype))
    door, [inside] = _arrays.enter("f", A=A)
    assert inside.dtype == np.float32
    assert door.leave(inside).dtype == A.dtype


def test_the_first_argument_decides_the_dtype():
    door, [A, b] = _arrays.enter("f", A=np.ones((2, 2), np.float32), b=[1, 2])
    assert A.dtype == b.dtype == door.leave(b).dtype == np.float32


def test_gradients_are_refused_with_advice():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"f: A must not require gradients.*A\.detach\(\)"):
        _arrays.enter("f", A=torch.ones(2, 2, requires_grad=True))


def test_mixed_libraries_are_refused_by_name():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="f: arrays must belong to one library; A is a torch array, b is a numpy array"):
        _arrays.enter("f", A=torch.ones(2, 2), b=np.ones(2))


@pytest.mark.parametrize("x", ["text", object(), {"a": 1}, [[1, 2], [3]], np.array(["a"]), np.array([None])])
def test_things_that_are_no_arrays_are_refused(x):
    with pytest.raises(TypeError, match="f: A must be an array of numbers; got"):
        _arrays.enter("f", A=x)


def test_sparse_matrices_pass_and_become_floats():
    A = sp.csr_array(np.eye(3, dtype=np.int64))
    door, [inside, b] = _arrays.enter("f", A=A, b=[1.0, 2.0, 3.0])
    assert _arrays.is_sparse(inside)
    assert inside.dtype == np.float64
    assert isinstance(door.leave(b), np.ndarray)


def test_kinds_of_input_are_told_apart():
    operator = sp.linalg.aslinearoperator(np.eye(2))
    dense, sparse, blocks = np.eye(2), sp.eye_array(2, format="csr"), [np.eye(2), np.eye(2)]
    assert [_arrays.is_array(x) for x in (dense, sparse, operator, blocks)] == [True, False, False, False]
    assert [_arrays.is_sparse(x) for x in (dense, sparse, operator, blocks)] == [False, True, False, False]
    assert [_arrays.is_operator(x) for x in (dense, sparse, operator, blocks)] == [False, False, True, False]
    assert [_arrays.is_row_blocks(x) for x in (dense, sparse, operator, blocks)] == [False, False, False, True]
    assert _arrays.is_row_blocks(lambda: iter(blocks))
    assert not _arrays.is_row_blocks([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, sp.csc_array, lambda A: [A[:3], A[3:]], lambda A: lambda: iter([A[:3], A[3:]])])
def test_row_blocks_cover_all_rows_in_order(make):
    A = np.arange(20.0).reshape(10, 2)
    parts = list(_arrays.row_blocks(make(A), 4))
    assert [offset for offset, _ in parts] == list(np.cumsum([0] + [block.shape[0] for _, block in parts[:-1]]))
    np.testing.assert_array_equal(np.vstack([b.toarray() if sp.issparse(b) else b for _, b in parts]), A)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_triangular_solves(backend, dtype):
    rng = np.random.default_rng(0)
    R = np.triu(rng.standard_normal((5, 5)) + (1j * rng.standard_normal((5, 5)) if dtype == np.complex128 else 0)) + 4 * np.eye(5)
    B = rng.standard_normal((5, 2)).astype(dtype)
    for adjoint, T in ((False, R), (True, R.conj().T)):
        X = _arrays.solve_triangular(backend.array(R), backend.array(B), adjoint=adjoint)
        np.testing.assert_allclose(T @ backend.numpy(X), B, atol=1e-13)


def test_host_round_trip(backend):
    x = np.arange(6.0).reshape(2, 3)
    like = backend.array(np.zeros(1))
    there = _arrays.from_numpy(x, like)
    np.testing.assert_array_equal(backend.numpy(there), x)
    np.testing.assert_array_equal(_arrays.to_numpy(there), x)


def test_sparse_matrices_alone_decide_the_namespace():
    import array_api_strict as strict

    class SparseElsewhere:
        nnz, shape, dtype = 2, (2, 2), strict.float64
        data = strict.asarray([1.0, 2.0])

        def tocsr(self):
            return self

        def astype(self, dtype, copy=True):
            assert dtype == strict.float64
            return self

    assert _arrays.enter("f", A=SparseElsewhere())[0].xp is strict
    for layout in ("csr", "lil", "dok"):
        door, [inside] = _arrays.enter("f", A=sp.eye_array(3).asformat(layout))
        assert door.xp is _arrays.namespace(np.empty(0))
        assert inside.shape == (3, 3)


def test_the_first_argument_is_required():
    with pytest.raises(TypeError, match="f: A must be an array of numbers; got NoneType"):
        _arrays.enter("f", A=None)
    assert _arrays.enter("f", A=np.eye(2), b=None)[1][1] is None
