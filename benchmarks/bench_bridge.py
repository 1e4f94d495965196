"""asv benchmarks of Schrodinger bridges: the fit and what it makes of points, against size and dimension."""

from benchmarks.compare.bridge import COMPONENTS, EPS, Problem, _setup, error
from lowrank_la.transport import light_bridge


class Bridge:
    """`light_bridge` on samples of a known bridge."""

    params = (((1000, 2), (10_000, 2), (10_000, 16)),)
    param_names = ("shape",)
    timeout = 300
    problem: Problem

    def setup(self, shape):
        self.problem = _setup("full", *shape)
        self.bridge = light_bridge(self.problem.X0, self.problem.X1, eps=EPS, n_components=COMPONENTS, max_iter=50, tol=1e-2, rng=0)

    def time_fit(self, shape):
        light_bridge(self.problem.X0, self.problem.X1, eps=EPS, n_components=COMPONENTS, max_iter=50, tol=1e-2, rng=0)

    def time_sample(self, shape):
        self.bridge.sample(self.problem.fresh, rng=0)

    def time_drift(self, shape):
        self.bridge.drift(self.problem.fresh, 0.5)

    def peakmem_fit(self, shape):
        light_bridge(self.problem.X0, self.problem.X1, eps=EPS, n_components=COMPONENTS, max_iter=50, tol=1e-2, rng=0)

    def track_error(self, shape):
        return error(self.problem, self.bridge.mean(self.problem.fresh))["error of the means"]
