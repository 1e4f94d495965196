"""Repeated determinantal samples, given points, and what a design says about itself."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from lowrank_la import ConvergenceWarning
from lowrank_la.dpp import DiscreteFeatures, Fourier, Hermite, Legendre, TensorBasis, design_at, repeated_dpp, total_degree

BASES = [Legendre(9), Hermite(7), Fourier(6), TensorBasis((Legendre(3), Hermite(3)), total_degree(2, 2))]


def gram_of(basis, design):
    V = basis.eval(design.points)
    return (V.conj() * design.weights[:, None]).T @ V / design.size


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_samples_are_added_until_least_squares_is_stable(basis):
    for seed in range(10):
        design = repeated_dpp(basis, rng=seed)
        assert design.converged
        assert design.size == design.repeats * basis.size
        assert 2 <= design.repeats <= 4
        values = np.linalg.eigvalsh(gram_of(basis, design))
        assert values[0] >= 0.1
        np.testing.assert_allclose(design.gram_eigs, values, atol=1e-11)


def test_weights_make_the_gram_matrix_unbiased():
    basis, count = Legendre(5), 400
    G = np.array([gram_of(basis, repeated_dpp(basis, 13, delta=None, rng=seed)) for seed in range(count)])
    assert (abs(G.mean(axis=0) - np.eye(5)) <= 5 * G.std(axis=0) / count**0.5 + 1e-12).all()


def test_a_cut_sample_keeps_the_density():
    """The points of the sample that is cut have the law of nu, which the first of an ordered sample would not have."""
    basis = DiscreteFeatures(np.random.default_rng(1).standard_normal((6, 4)) * [[3], [1], [1], [1], [1], [1]])
    last = [repeated_dpp(basis, 5, delta=None, rng=seed).indices[-1] for seed in range(3000)]
    nu = np.sum(basis.Q**2, axis=1) / 4
    assert stats.chisquare(np.bincount(last, minlength=6), 3000 * nu).pvalue > 1e-4


def test_sizes_need_not_be_multiples():
    for n in (9, 10, 17, 18, 31):
        design = repeated_dpp(Legendre(9), n, delta=None, rng=n)
        assert design.size == n
        assert design.repeats == -(-n // 9)
    thin = repeated_dpp(Legendre(9), 36, best_of=5, subsample=15, rng=0)
    assert thin.size == 15
    assert thin.certificate.bound <= 0.9


def test_samples_that_are_not_stable_are_said():
    with pytest.warns(ConvergenceWarning, match=r"repeated_dpp: 64 points have \|\|G - I\|\| = .*, more than delta = 0.01"):
        design = repeated_dpp(Legendre(8), delta=0.01, rng=0)
    assert not design.converged
    with pytest.warns(ConvergenceWarning, match="repeated_dpp: 8 points have .* after 4 draws"):
        assert not repeated_dpp(Legendre(8), 8, max_trials=4, delta=0.5, rng=0).converged


def test_repeated_samples_are_more_stable_than_independent_points():
    """The table of the documentation in small: share of stable designs for m = 10 and n = 20."""
    from benchmarks.designs_tables import stable_share

    shares = {kind: stable_share(kind, 10, 2, draws=60) for kind in ("iid", "volume", "repeated")}
    assert shares["iid"] < 0.35
    assert shares["volume"] < shares["repeated"]
    assert shares["repeated"] > 0.75


@pytest.mark.parametrize("number", range(3))
def test_error_curves_stay_above_the_best_approximation(number):
    """One row of each table of the documentation."""
    from benchmarks.designs_tables import PROBLEMS, curve

    row = curve(list(PROBLEMS)[number], 6, repetitions=2)
    best = row["best"][1]
    assert all(error >= best * (1 - 1e-9) for _, error in row.values())
    assert row["repeated_dpp"][1] <= 4 * best
    assert row["christoffel"][1] <= 2 * best


def test_gauss_nodes_are_perfect():
    nodes, weights = Legendre(12).quadrature(12)
    design = design_at(Legendre(12), nodes, weights=12 * weights)
    assert design.kind == "given"
    assert design.certificate.bound < 1e-11
    np.testing.assert_allclose(design_at(Legendre(12), nodes).weights, 12 * weights)


def test_discrete_designs_come_in_the_kind_of_the_features(backend):
    Phi = np.random.default_rng(0).standard_normal((60, 3))
    expected = repeated_dpp(DiscreteFeatures(Phi), rng=3)
    design = repeated_dpp(DiscreteFeatures(backend.array(Phi)), rng=3)
    assert np.array_equal(backend.numpy(design.indices), expected.indices)
    assert type(design.weights) is type(backend.array(Phi))


def test_equal_items_never_meet():
    rows = np.random.default_rng(0).standard_normal((5, 3))
    basis = DiscreteFeatures(np.concatenate([rows, rows, 2 * rows]))
    for seed in range(50):
        first = repeated_dpp(basis, 3, delta=None, rng=seed).indices
        assert len(set(first % 5)) == 3


def test_designs_do_not_depend_on_the_number_of_threads():
    code = "from lowrank_la.dpp import *; print(repeated_dpp(TensorBasis(Legendre(6), total_degree(2, 5)), rng=5).points.sum().hex())"
    sums = []
    for threads in ("1", "2"):
        environment = {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PATH": ""}
        sums.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout)
    assert sums[0] == sums[1]


def test_answers_fit_on_a_screen():
    text = repr(repeated_dpp(Legendre(4), rng=0))
    assert text.startswith("Design\n  kind = 'repeated_dpp'\n")
    assert len(text.splitlines()) < 16


PHI = np.ones((4, 1))
PHI[2] = 0
BAD = [
    ("few", lambda: repeated_dpp(Legendre(5), 4), ValueError, "repeated_dpp: n must be an integer of at least 5; got 4"),
    ("best", lambda: repeated_dpp(Legendre(5), best_of=3), ValueError, "repeated_dpp: n must be given with best_of or subsample; got None"),
    ("delta", lambda: repeated_dpp(Legendre(5), delta=2), ValueError, "repeated_dpp: delta must be a number between 0 and 1"),
    ("zero", lambda: design_at(DiscreteFeatures(PHI), [0, 2]), ValueError, "design_at: x must lie where a function of the basis is not 0"),
    ("weights", lambda: design_at(Legendre(2), [0.1, 0.2], weights=[1, 0]), ValueError, "design_at: weights must be above 0 and finite"),
    ("short", lambda: design_at(Legendre(2), [0.1, 0.2], weights=[1]), ValueError, r"design_at: weights must have shape \(2,\)"),
    ("indices", lambda: design_at(DiscreteFeatures(PHI), [0.5]), TypeError, "x must be integers"),
]


@pytest.mark.parametrize(("call", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
