"""asv benchmarks of `recover`: time and error against measurements, rank guess and initial scale."""

import warnings

from benchmarks.compare import recovery
from lowrank_la import ConvergenceWarning
from lowrank_la.recovery import recover

COMPARED = {task.name: task for task in recovery.TASKS}


class Robust:
    """Gross errors in a fifth of the measurements, for every loss and several guesses of the rank."""

    params = (("dense", "mask"), ("l1", "huber"), (3, 15))
    param_names = ("measurements", "loss", "guess")

    def setup(self, kind, loss, guess):
        self.problem = recovery.make(kind, (40, 30), 3, guess, 1000, 0.2)
        self.time_recover(kind, loss, guess)

    def time_recover(self, kind, loss, guess):
        return recovery.ours(self.problem, loss=loss)  # a row of entries may stay in doubt, and says so

    def track_error(self, kind, loss, guess):
        return recovery.error(self.problem, self.time_recover(kind, loss, guess))["relative error"]


class Overparameterised:
    """Iterations to a residual of 1e-6 against the initial scale."""

    params = (("gd", "scaled"), (1e-1, 1e-2, 1e-3))
    param_names = ("method", "initial scale")

    def setup(self, method, scale):
        self.problem = recovery.make("dense", (30, 30), 3, 6, 1500, 0.0)

    def time_recover(self, method, scale):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # "scaled" may need more
            return recover(self.problem.op, self.problem.y, 6, loss="l2", method=method, init_scale=scale, debias=False, rng=0)

    def track_iterations(self, method, scale):
        return self.time_recover(method, scale).n_iter


class Compared:
    """Everyone's time on the tasks of the comparison."""

    params = (list(COMPARED),)
    param_names = ("task",)
    timeout = 300

    def setup(self, task):
        self.problem = COMPARED[task].setup("small")

    def time_ours(self, task):
        return next(iter(COMPARED[task].contenders.values()))(self.problem)
