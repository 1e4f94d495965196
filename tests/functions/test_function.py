"""Values at points and on grids, on every backend; what is refused; files and pictures."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_la._result import Certificate
from lowrank_la.functions import FunctionTucker
from lowrank_la.functions._evidence import CLAIM
from lowrank_la.functions._function import function_of
from tests.functions.oracles import BOXES, points, random_function, values

SIZES, RANKS = (9, 6, 12, 3, 2, 4, 1, 3), (3, 4, 2, 3, 2, 1, 1, 2)


@pytest.mark.parametrize("dim", range(1, 9))
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_values_agree_with_dense_evaluation(dim, dtype):
    f, C = random_function(SIZES[:dim], RANKS[:dim], dtype=dtype)
    X = points(f, 53)
    expected = values(C, f.domain, X)
    assert abs(f(*X.T) - expected).max() < 1e-12 * abs(expected).max()
    assert np.array_equal(f(*X.T), f(X[:, 0] if dim == 1 else X))
    assert f(*X.T).dtype == dtype


@pytest.mark.parametrize("outputs", [1, 3])
def test_outputs_come_first(outputs):
    f, C = random_function((9, 6, 5), (3, 2, 4), outputs=outputs)
    X = points(f, 20)
    expected = values(C, f.domain, X)
    assert f.outputs == outputs
    assert f(X).shape == (outputs, 20)
    assert abs(f(X) - expected).max() < 1e-12
    grid = f.grid(X[:4, 0], X[:5, 1], X[:6, 2])
    assert grid.shape == (outputs, 4, 5, 6)
    assert abs(np.einsum("piii->pi", grid[:, :, :4, :4]) - expected[:, :4]).max() < 1e-12


def test_backends_and_precisions_follow_the_points(backend):
    f, C = random_function((9, 6, 5), (3, 2, 4))
    X = points(f, 40)
    expected = values(C, f.domain, X)
    for dtype, tol in ((np.float64, 1e-13), (np.float32, 1e-4)):
        got = f(backend.array(X[2:].astype(dtype)))
        assert backend.numpy(got).dtype == dtype
        assert abs(backend.numpy(got) - expected[2:]).max() < tol * abs(expected).max()
    inside = function_of(backend.array(f.core), [backend.array(V) for V in f.factors], f.domain) if backend.name != "torch" else f
    assert abs(np.asarray(inside(X[:, 0], X[:, 1], X[:, 2])) - expected).max() < 1e-12
    grid = f.grid(*(backend.array(X[:5, k]) for k in range(3)))
    assert abs(np.einsum("iii->i", backend.numpy(grid)) - expected[:5]).max() < 1e-12


def test_single_precision_functions_stay_single():
    f, C = random_function((9, 6, 5), (3, 2, 4), dtype=np.float32)
    assert f.core.dtype == f.factors[0].dtype == np.float32
    X = points(f, 40).astype(np.float32)[2:]
    assert f(X).dtype == np.float32
    assert abs(f(X) - values(C.astype(np.float64), f.domain, X)).max() < 1e-4
    assert f.derivative(1).core.dtype == (f + f).core.dtype == f.round(1e-3).core.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_values_on_a_grid_as_a_tucker_tensor(dtype, backend):
    f, _ = random_function((9, 6, 5), (3, 2, 4), dtype=dtype)
    axes = [np.linspace(*interval, n) for interval, n in zip(f.domain, (30, 20, 2), strict=True)]
    tensor = f.to_tucker(*map(backend.array, axes))
    assert tensor.shape == (30, 20, 2)
    assert tensor.ranks == (3, 2, 2)
    grid = f.grid(*axes)
    assert np.linalg.norm(backend.numpy(tensor.to_dense()) - grid) <= tensor.certificate.bound + 1e-13 * np.linalg.norm(grid)
    with pytest.raises(ValueError, match="to_tucker: x1 must have at least one entry"):
        f.to_tucker(axes[0], axes[1][:0], axes[2])
    with pytest.raises(ValueError, match="to_tucker: values must be numbers"):
        random_function((9, 6), (3, 2), outputs=2)[0].to_tucker(*axes[:2])


def test_coordinates_broadcast_and_grids_are_recognised():
    f, _ = random_function((9, 6, 5), (3, 2, 4))
    X = points(f, 7)
    x, y, z = X[:, 0], X[:6, 1], X[:5, 2]
    grid = f.grid(x, y, z)
    for shape in [(0, 1, 2), (2, 0, 1), (1, 2, 0)]:
        open_grid = [np.expand_dims(v, [a for a in range(3) if a != axis]) for v, axis in zip((x, y, z), shape, strict=True)]
        assert abs(f(*open_grid) - np.transpose(grid, np.argsort(shape))).max() < 1e-12
    assert abs(f(x[:, None], y[None, :], X[0, 2]) - grid[:, :, 0]).max() < 1e-12
    turned = f(x[:, None, None], X[1, 1].reshape(1, 1, 1), z[None, :, None])
    assert abs(turned - f(x[:, None], X[1, 1], z[None, :])[..., None]).max() < 1e-12
    scattered = np.stack(np.broadcast_arrays(x[:5, None], y[None, :5], z[:, None]), axis=-1)
    assert np.array_equal(f(scattered), f(x[:5, None], y[None, :5], z[:, None]))


def test_one_variable_takes_coordinates_of_any_shape():
    f, _ = random_function((9,), (2,))
    x = np.linspace(0, 1, 12)
    assert f(x).shape == (12,)
    assert np.array_equal(f(x.reshape(3, 4)), f(x).reshape(3, 4))
    assert np.array_equal(f(x[:, None]), f(x)[:, None])
    assert f(0.5).shape == ()
    assert f(x[:0]).shape == (0,)


def test_ends_of_the_domain_may_be_missed_by_rounding():
    f, _ = random_function((9, 6), (3, 2))
    b = f.domain[1, 1]
    assert math.isclose(f(0.0, np.nextafter(b, 9)), f(0.0, b))
    assert np.array_equal(f(np.float32([0, 1]), np.float32(f.domain[1])).shape, (2,))
    with pytest.raises(ValueError, match="must lie in the domain"):
        f(0.0, b + 1e-13)


@given(st.integers(1, 4), st.integers(0, 2**32), st.floats(-3, 3), st.floats(0.1, 10))
def test_an_affine_change_of_the_domain_changes_nothing(dim, seed, shift, scale):
    f, _ = random_function(SIZES[:dim], RANKS[:dim], seed=seed)
    moved = function_of(f.core, f.factors, f.domain * scale + shift)
    X = points(f, 10, seed)[2:].T
    assert abs(moved(*(X * scale + shift)) - f(*X)).max() <= 1e-11 * (1 + abs(f(*X)).max())


def test_orthonormal_columns_bear_no_scale():
    f, _ = random_function((30, 6), (3, 9))
    assert f.ranks == (3, 6)
    assert f.degrees == (29, 5)
    assert f.dim == 2
    for V in f.factors:
        assert abs(V.T @ V - np.eye(V.shape[1])).max() < 1e-14


def test_numbers_beside_tensors_join_their_library():
    torch = pytest.importorskip("torch")
    f, _ = random_function((9, 6), (3, 2))
    x = torch.linspace(0, 1, 5, dtype=torch.float64)
    for got in (f(x, 0), f(x, 0.0)):
        assert abs(got.numpy() - f(x.numpy(), 0.0)).max() < 1e-14
    swapped, _ = random_function((9, 6), (3, 2))
    assert swapped(0.5, torch.zeros(3)).dtype == torch.float32


BAD = [
    ("outside", lambda f: f([0.5, 2.0, 3.0], 0.0), ValueError, r"from 0 to 1 along axis 0; got 2 at point 1"),
    ("NaN", lambda f: f([0.5, np.nan], 0.0), ValueError, r"along axis 0; got nan at point 1"),
    ("infinite", lambda f: f(0.5, [0.0, 1.0, -np.inf]), ValueError, r"along axis 1; got -inf at point 2"),
    ("outside a grid", lambda f: f.grid([0.5], [0.0, -2.5]), ValueError, r"FunctionTucker.grid: .* along axis 1; got -2.5 at point 1"),
    ("one coordinate", lambda f: f(0.5), ValueError, r"points must have a last axis of length 2"),
    ("three coordinates", lambda f: f(0.5, 0.5, 0.5), ValueError, r"points must have 2 coordinates, one for each variable; got 3"),
    ("points in rows", lambda f: f(np.zeros((2, 5))), ValueError, r"last axis of length 2, the variables; got shape \(2, 5\)"),
    ("complex points", lambda f: f(0.5j, 0.0), TypeError, r"x0 must be real"),
    ("text", lambda f: f("a", 0.0), TypeError, r"x0 must be an array of numbers"),
    ("None", lambda f: f(0.5, None), TypeError, r"x1 must be an array of numbers; got NoneType"),
    ("axes of a grid", lambda f: f.grid([0.5]), ValueError, r"axes must be 2 vectors"),
    ("matrix as an axis", lambda f: f.grid([[0.5]], [0.0]), ValueError, r"x0 must be 1-dimensional"),
]


@pytest.mark.parametrize(("call", "error", "text"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_points_are_refused(call, error, text):
    f, _ = random_function((9, 6), (3, 2))
    with pytest.raises(error, match=text):
        call(f)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("outputs", [None, 2])
def test_files_bring_back_everything(tmp_path, dtype, outputs):
    evidence = {"resolved": False, "truncation": 1e-9, "sample_max": 2e-8, "stability": 3.0, "n_evaluations": 12}
    f, _ = random_function((9, 6), (3, 2), dtype=dtype, outputs=outputs, certificate=Certificate(CLAIM, 1e-7, 0.99, "test"), **evidence)
    path = tmp_path / "function.npz"
    f.save(path)
    g = FunctionTucker.load(path)
    for field in fields(f):
        mine, theirs = getattr(f, field.name), getattr(g, field.name)
        pairs = zip(mine, theirs, strict=True) if field.name == "factors" else [(mine, theirs)]
        assert all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs), field.name
    assert g.core.dtype == dtype


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, core=np.zeros(3))
    with pytest.raises(ValueError, match=r"FunctionTucker.load: .* must be a file that FunctionTucker.save wrote"):
        FunctionTucker.load(path)
    np.savez(path, core=np.zeros((2, 2)), domain=BOXES[:2], factor0=np.zeros((3, 2)), factor1=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="do not fit together"):
        FunctionTucker.load(path)


@pytest.mark.parametrize(("dim", "panels"), [(1, 1), (2, 2), (3, 4), (6, 6)])
def test_pictures(dim, panels):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    f, _ = random_function(SIZES[:dim], RANKS[:dim], outputs=2 if dim == 3 else None)
    figure = f.plot(n=20)
    assert len(figure.axes) == panels
    if dim > 2:
        assert f"x_{dim - 1}" in figure.axes[0].get_title()
        with pytest.raises(ValueError, match=r"FunctionTucker.plot: at\[0\] must be a number between 0 and 1"):
            f.plot(at={0: 2.0})
    pyplot.close("all")


def test_the_answer_describes_itself_on_a_screen():
    f, _ = random_function(SIZES, RANKS)
    assert len(repr(f).splitlines()) < 20
