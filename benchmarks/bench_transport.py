"""asv benchmarks of entropic transport: time, memory and accuracy, against size, kind of costs and regularisation."""

import numpy as np

from benchmarks.compare.transport import costs
from lowrank_la.transport import sinkhorn, sinkhorn_divergence


class Stored:
    """`sinkhorn` on cost matrices."""

    params = (("clouds", "assignment", "images"), (300, 1000, 4000), (100, 1200))
    param_names = ("kind", "n", "eta")
    timeout = 300

    def setup(self, kind, n, eta):
        self.C = costs(kind, n)
        self.time_sinkhorn(kind, n, eta)

    def time_sinkhorn(self, kind, n, eta):
        return sinkhorn(self.C, reg=1 / eta)

    def time_without_certificate(self, kind, n, eta):
        sinkhorn(self.C, reg=1 / eta, certificate=False)

    def time_exact(self, kind, n, eta):
        sinkhorn(self.C, reg=1 / eta, refine="exact")

    def peakmem_sinkhorn(self, kind, n, eta):
        self.time_sinkhorn(kind, n, eta)

    def track_iterations(self, kind, n, eta):
        return self.time_sinkhorn(kind, n, eta).n_iter

    def track_bracket(self, kind, n, eta):
        return self.time_sinkhorn(kind, n, eta).certificate.bound


class Clouds:
    """Costs that are never stored, and the divergence."""

    params = ((2000, 10_000), (2, 3))
    param_names = ("n", "d")
    timeout = 300

    def setup(self, n, d):
        rng = np.random.default_rng(0)
        self.X, self.Y = rng.random((n, d)), rng.random((n, d)) ** 2
        self.time_sinkhorn(n, d)

    def time_sinkhorn(self, n, d):
        sinkhorn((self.X, self.Y), reg=0.02)

    def time_divergence(self, n, d):
        sinkhorn_divergence(self.X[:1000], self.Y[:1000], reg=0.02)

    def peakmem_sinkhorn(self, n, d):
        self.time_sinkhorn(n, d)
