"""asv benchmarks of self-calibration: time, memory and accuracy, against model and noise."""

import warnings

from benchmarks.compare.calibration import coded, error, gaussian, ours

CASES = {"repeated": (256, 64, 4), "diverse": (128, 64, 8), "snapshots": (128, 64, 400)}


class Models:
    """The dense path."""

    params = (tuple(CASES), (10, 40))
    param_names = ("model", "snr")

    def setup(self, model, snr):
        warnings.simplefilter("ignore")
        self.problem = gaussian(model, *CASES[model], snr)
        self.time_calibrate(model, snr)

    def time_calibrate(self, model, snr):
        return ours(self.problem)

    def time_spectral(self, model, snr):
        return ours(self.problem, method="spectral")

    def track_error(self, model, snr):
        return error(self.problem, self.time_calibrate(model, snr))["error of the gains"]


class Coded:
    """The path by transforms."""

    params = ((2048, 65536),)
    param_names = ("m",)
    timeout = 300

    def setup(self, m):
        warnings.simplefilter("ignore")
        self.problem = coded(m, 4, 30)

    def time_calibrate(self, m):
        return ours(self.problem, max_iter=5)

    def peakmem_calibrate(self, m):
        return ours(self.problem, max_iter=5)
