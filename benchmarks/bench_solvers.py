"""asv benchmarks of iterative solvers: time and steps, against size and right-hand sides."""

import numpy as np

from benchmarks.compare.solvers import poisson
from lowrank_la.solvers import conjugate_directions, conjugate_gradients, federated_wls


class Poisson:
    """`conjugate_gradients` on a square grid."""

    params = ((10, 100, 300), (1, 8))
    param_names = ("n", "count")

    def setup(self, n, count):
        self.A = poisson(n)
        self.B = np.random.default_rng(0).standard_normal((n * n, count))
        self.time_gradients(n, count)

    def time_gradients(self, n, count):
        return conjugate_gradients(self.A, self.B)

    def peakmem_gradients(self, n, count):
        self.time_gradients(n, count)

    def track_steps(self, n, count):
        return self.time_gradients(n, count).n_iter

    def time_directions(self, n, count):
        return conjugate_directions(self.A, self.B[:, 0], lambda r: r)


class Federated:
    """`federated_wls` for many clients."""

    params = (10, 100, 1000)
    param_names = ("count",)

    def setup(self, count):
        rng = np.random.default_rng(0)
        self.clients = [(rng.standard_normal((30, 8)), rng.standard_normal(30)) for _ in range(count)]

    def time_rounds(self, count):
        return federated_wls(self.clients, participation=0.5, rounds=100, rng=0, rho=30.0)
