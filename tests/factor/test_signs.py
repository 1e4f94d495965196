"""The sign rule: largest entries positive, products unchanged, ties decided by the first entry."""

import numpy as np

from lowrank_la.factor._signs import signed

RNG = np.random.default_rng(1)


def test_largest_entries_become_positive_and_products_stay():
    for U, V in (
        (RNG.standard_normal((9, 4)), RNG.standard_normal((7, 4))),
        (RNG.standard_normal((3, 9, 4)), RNG.standard_normal((3, 7, 4))),
    ):
        for A, B in ((U, V), (U + 1j * np.roll(U, 1, axis=-2) ** 2, V * (1 + 2j))):
            X, Y = signed(A, B)
            pivot = np.take_along_axis(X, np.argmax(abs(X), axis=-2, keepdims=True), axis=-2)
            np.testing.assert_allclose(pivot, abs(pivot), atol=1e-15)
            np.testing.assert_allclose(X @ Y.conj().swapaxes(-1, -2), A @ B.conj().swapaxes(-1, -2), atol=1e-13)


def test_the_first_of_nearly_equal_entries_decides():
    U = np.array([[0.0], [-1.0], [1.0 + 1e-9]])
    np.testing.assert_allclose(signed(U)[0], -U)


def test_zero_columns_and_no_columns_are_left_alone():
    assert np.array_equal(signed(np.zeros((3, 2)))[0], np.zeros((3, 2)))
    assert signed(np.zeros((3, 0)), np.zeros((2, 0)))[1].shape == (2, 0)


def test_backends(backend):
    U = RNG.standard_normal((6, 3))
    if backend.name == "strict":
        np.testing.assert_allclose(backend.numpy(signed(backend.array(U))[0]), signed(U)[0])
