"""Procrustes problems: no rotation, scale and shift is better, by planted answers and by trying others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation

from lowrank_la.factor import procrustes


def draw(rng, *shape, complex=False):
    return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if complex else 0)


def orthogonal(rng, d, *, complex=False, rotation=False):
    R = np.linalg.qr(draw(rng, d, d, complex=complex))[0]
    if rotation and np.linalg.det(R) < 0:
        R[:, 0] *= -1
    return R


def objective(P, Q, w, R, s, t):
    long = np.clongdouble if np.iscomplexobj(R) else np.longdouble
    E = s * (P.astype(long) @ np.asarray(R).astype(long)) + np.asarray(t).astype(long) - Q.astype(long)
    return float((w[:, None] * np.abs(E) ** 2).sum())


OPTIONS = st.fixed_dictionaries({"scale": st.booleans(), "translation": st.booleans()})


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 20),
    d=st.integers(1, 5),
    noise=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
    kind=st.sampled_from(["real", "complex", "rotation"]),
    options=OPTIONS,
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_nothing_admissible_is_better(seed, n, d, noise, kind, options, dtype):
    rng = np.random.default_rng(seed)
    complex, rotation = kind == "complex", kind == "rotation"
    P = draw(rng, n, d, complex=complex) + (10 if options["translation"] else 0)
    Q = 3 * P @ orthogonal(rng, d, complex=complex) + noise * draw(rng, n, d, complex=complex)
    w = rng.random(n) + 0.01
    P, Q = (x.astype(np.result_type(dtype, np.complex64) if complex else dtype) for x in (P, Q))
    w = w.astype(dtype).astype(float)
    result = procrustes(P, Q, weights=w.astype(dtype), reflection=not rotation, **options)
    eps = float(np.finfo(dtype).eps)
    scale = float(result.scale)
    size = float((w[:, None] * (scale**2 * np.abs(P) ** 2 + np.abs(Q) ** 2)).sum())
    found = objective(P, Q, w, result.R, scale, result.shift)
    np.testing.assert_allclose(result.R.conj().T @ result.R, np.eye(d), atol=40 * eps)
    if rotation:
        assert np.linalg.det(result.R) == pytest.approx(1, abs=1e-5)
    assert result.error == pytest.approx(np.sqrt(found), rel=1e-6, abs=10 * 2.3e-16 * np.sqrt(size))
    assert found <= result.minimum**2 + result.certificate.bound * (1 + 1e-9)
    assert result.certificate.bound <= 400 * eps * (n + d) * size
    for _ in range(20):
        other = nearby(rng, result.R, rng.choice([1e-8, 1e-3, 1.0]), rotation, complex)
        best = refit(P, Q, w, other, options, scale, result.shift, rng)
        assert result.minimum**2 <= best * (1 + 1e-12) + 1e-16 * size
        assert found <= best + 100 * eps * size


def nearby(rng, R, step, rotation, complex):
    other = np.linalg.qr(R + step * draw(rng, *R.shape, complex=complex))
    turned = other[0] * (np.diag(other[1]) / np.abs(np.diag(other[1])))
    if rotation and np.linalg.det(turned) < 0:
        turned[:, 0] *= -1
    return turned


def refit(P, Q, w, R, options, scale, shift, rng):
    """The objective of another R, with a scale and a shift near those of the answer."""
    s = abs(scale * (1 + 1e-4 * rng.standard_normal())) if options["scale"] else 1.0
    t = shift * (1 + 1e-6 * rng.standard_normal()) if options["translation"] else 0 * shift
    return objective(P, Q, w, R, s, t)


def test_certificates_hold_for_many_planted_problems():
    rng = np.random.default_rng(1)
    for _ in range(300):
        n, d = int(rng.integers(2, 30)), int(rng.integers(1, 6))
        complex = bool(rng.integers(2))
        R = orthogonal(rng, d, complex=complex)
        P = draw(rng, n, d, complex=complex)
        Q = 2.5 * P @ R + draw(rng, 1, d, complex=complex)
        result = procrustes(P, Q, scale=True, translation=True)
        size = (np.abs(P) ** 2).sum() + (np.abs(Q) ** 2).sum()
        assert result.error**2 <= result.certificate.bound <= 1e-12 * size
        assert result.minimum <= 1e-6 * np.sqrt(size)
        if n > d:
            np.testing.assert_allclose(result.R, R, atol=1e-9)
            assert result.scale == pytest.approx(2.5)
            assert result.gap > 0


def test_agrees_with_scipy():
    rng = np.random.default_rng(2)
    P, Q = rng.standard_normal((20, 3)), rng.standard_normal((20, 3))
    R, _ = orthogonal_procrustes(P, Q)
    np.testing.assert_allclose(procrustes(P, Q).R, R, atol=1e-13)
    w = rng.random(20)
    rotation, rssd = Rotation.align_vectors(Q, P, weights=w)
    result = procrustes(P, Q, weights=w, reflection=False)
    np.testing.assert_allclose(result.R.T, rotation.as_matrix(), atol=1e-10)
    assert result.error == pytest.approx(rssd)


def test_a_mirror_image_needs_a_reflection():
    rng = np.random.default_rng(3)
    P = rng.standard_normal((30, 3))
    Q = P * [1, 1, -1]
    assert procrustes(P, Q).error < 1e-13
    rotated = procrustes(P, Q, reflection=False)
    assert np.linalg.det(rotated.R) == pytest.approx(1)
    assert rotated.error > 1
    assert rotated.certificate.bound < 1e-11
    assert rotated.gap < procrustes(P, P, reflection=False).gap


def test_transform_moves_other_points():
    rng = np.random.default_rng(4)
    P, Q = rng.standard_normal((2, 10, 3)), rng.standard_normal((2, 10, 3))
    for i in range(2):
        result = procrustes(P[i], Q[i], scale=True, translation=True)
        assert np.linalg.norm(result.transform(P[i]) - Q[i]) == pytest.approx(result.error)
    together = procrustes(P, Q, scale=True, translation=True)
    np.testing.assert_allclose(together.transform(P)[1], result.transform(P[1]), atol=1e-13)
    np.testing.assert_allclose(together.error[1], result.error)


def test_large_offsets_do_not_spoil_the_rotation():
    rng = np.random.default_rng(5)
    P = rng.standard_normal((50, 3))
    R = orthogonal(rng, 3)
    result = procrustes(P + 1e6, P @ R - 1e6, translation=True)
    np.testing.assert_allclose(result.R, R, atol=1e-9)


def test_degenerate_points():
    same = procrustes(np.ones((4, 3)), np.ones((4, 3)), translation=True, scale=True)
    np.testing.assert_allclose(same.R, np.eye(3), atol=1e-15)
    assert same.scale == 1
    assert same.gap == same.error == 0
    one = procrustes([[1.0, 0.0]], [[0.0, 2.0]])
    assert one.error == pytest.approx(1)
    line = procrustes([[1.0], [2.0]], [[-1.0], [-2.0]], reflection=False, scale=True)
    assert line.R[0, 0] == 1
    assert line.scale == 0


def test_works_on_every_backend(backend):
    rng = np.random.default_rng(6)
    P, Q, w = rng.standard_normal((12, 3)), rng.standard_normal((12, 3)), rng.random(12)
    options = {"scale": True, "translation": True, "reflection": False}
    result = procrustes(backend.array(P), backend.array(Q), weights=backend.array(w), **options)
    reference = procrustes(P, Q, weights=w, **options)
    np.testing.assert_allclose(backend.numpy(result.R), reference.R, atol=1e-12)
    np.testing.assert_allclose(backend.numpy(result.shift), reference.shift, atol=1e-12)
    np.testing.assert_allclose(backend.numpy(result.transform(backend.array(P))), reference.transform(P), atol=1e-12)
    assert result.scale == pytest.approx(reference.scale)


P = np.arange(6.0).reshape(3, 2)
BAD = [
    ("shapes differ", (P, P[:2]), {}, ValueError, r"procrustes: Q must have shape \(3, 2\); got \(2, 2\)"),
    ("vector", (P[0], P[0]), {}, ValueError, "P must be 2-dimensional or 3-dimensional"),
    ("weights misfit", (P, P), {"weights": np.ones(2)}, ValueError, r"weights must have shape \(3,\); got \(2,\)"),
    ("negative", (P, P), {"weights": -np.ones(3)}, ValueError, "weights must be nonnegative and not all 0; got -1 as the smallest"),
    ("all zero", (P, P), {"weights": np.zeros(3)}, ValueError, "weights must be nonnegative and not all 0"),
    ("complex weights", (P, P), {"weights": 1j * np.ones(3)}, TypeError, "weights must be real"),
    ("complex rotation", (P, 1j * P), {"reflection": False}, TypeError, "P and Q must be real for reflection=False"),
    ("NaN", (P, P * np.nan), {}, ValueError, "Q must be finite; got 6"),
    ("empty", (P[:0], P[:0]), {}, ValueError, "P must have at least one entry"),
]


@pytest.mark.parametrize(("args", "options", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        procrustes(*args, **options)
