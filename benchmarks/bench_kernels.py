"""Regression kernels: seconds of one call, at sizes where arithmetic (whiten) or memory (residual, normal) is the floor."""

from __future__ import annotations

import numpy as np

from lowrank_la import kernels

SIZES = [(1_000, 10), (200_000, 100), (40_000, 500), (1 << 20, 100), (200_000, 500)]


class _Tall:
    """A dense problem in the memory order that the parameter names; the first call, in `setup`, compiles."""

    def setup(self, size, order, *_):
        n, d = size
        rng = np.random.default_rng(0)
        self.A = np.asarray(rng.standard_normal((n, d)), order=order)
        self.R_inv = np.triu(rng.standard_normal((d, d))) / d
        self.X, self.B = rng.standard_normal((d, 8)), rng.standard_normal((n, 8))


class Whiten(_Tall):
    params = (SIZES, ["C", "F"], [False, True])
    param_names = ("size", "order", "fast")

    def setup(self, size, order, fast):
        super().setup(size, order)
        self.time_gram(size, order, fast)

    def time_gram(self, size, order, fast):
        kernels.whiten.gram(self.A, self.R_inv, self.B[:, :1], None, fast)

    peakmem_gram = time_gram


class Residual(_Tall):
    params = (SIZES, ["C", "F"], [1, 8])
    param_names = ("size", "order", "right_hand_sides")

    def setup(self, size, order, k):
        super().setup(size, order)
        self.time_gradient(size, order, k)

    def time_gradient(self, size, order, k):
        kernels.residual.gradient(self.A, self.X[:, :k], self.B[:, :k], None)

    def time_normal(self, size, order, k):
        kernels.normal.product(self.A, self.X[:, :k], None)

    peakmem_gradient = time_gradient
