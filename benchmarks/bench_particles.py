"""asv benchmarks of electrostatics: time, memory and accuracy, against particles and cut-off."""

from benchmarks.compare.particles import cube, potential_error, smooth
from lowrank_la import chebyshev_tucker
from lowrank_la.functions import newton_quadrature, particle_potential


class Particles:
    """`particle_potential` against particles and cut-off."""

    params = ((500, 5000, 20_000), (None, 0.2, 0.5))
    param_names = ("particles", "cutoff")

    def setup(self, particles, cutoff):
        self.problem = cube(particles)
        self.cutoff = cutoff
        self.potential = self.time_build(particles, cutoff)

    def time_build(self, particles, cutoff):
        return particle_potential(self.problem.X, self.problem.charges, cutoff=self.cutoff)

    def time_values(self, particles, cutoff):
        return self.potential(self.problem.X)

    def time_short_range(self, particles, cutoff):
        return self.potential.short(self.problem.X)

    def peakmem_build(self, particles, cutoff):
        self.time_build(particles, cutoff)

    def track_error(self, particles, cutoff):
        return potential_error(self.problem, self.time_values(particles, cutoff))["error"]


class LongRange:
    """`chebyshev_tucker` of Gaussians, against particles and the sharpest of them."""

    params = ((500, 5000), (5.0, 10.0))
    param_names = ("particles", "ratio")

    def setup(self, particles, ratio):
        self.problem = smooth(particles, 1, ratio)
        self.time_build(particles, ratio)

    def time_build(self, particles, ratio):
        return chebyshev_tucker(self.problem.cloud, [(0, 1)] * 3, tol=self.problem.tol)

    def track_rank(self, particles, ratio):
        return max(self.time_build(particles, ratio).ranks)


class Quadrature:
    """`newton_quadrature` alone."""

    def time_quadrature(self):
        return newton_quadrature(1e4, 1e-10)

    def track_terms(self):
        return len(newton_quadrature(1e4, 1e-10)[0])
