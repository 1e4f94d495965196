"""Backends for tests: NumPy, array-api-strict on a device that NumPy cannot read, and PyTorch on the CPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

SIMULATOR = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"

settings.register_profile("ci", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("ci")


@dataclass(frozen=True)
class Backend:
    """One array library: how test data get in and answers get out."""

    name: str

    def array(self, x: Any) -> Any:
        x = np.asarray(x)
        if self.name == "numpy":
            return x
        if self.name == "torch":
            import torch

            return torch.asarray(np.ascontiguousarray(x))
        if self.name == "cupy":
            import cupy

            return cupy.asarray(x)
        import array_api_strict as strict

        return strict.asarray(x, device=strict.Device("device1"))

    def numpy(self, x: Any) -> np.ndarray:
        if self.name == "strict":
            import array_api_strict as strict

            assert x.device == strict.Device("device1")
            return np.asarray(x.to_device(strict.Device("CPU_DEVICE")))
        if self.name == "torch":
            import torch

            assert isinstance(x, torch.Tensor)
        if self.name == "cupy":
            return x.get()
        return np.asarray(x)


@pytest.fixture(params=["numpy", "strict", "torch", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> Backend:
    pytest.importorskip({"strict": "array_api_strict"}.get(request.param, request.param))
    return Backend(request.param)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what this process cannot run: GPU tests without a GPU, simulator tests outside the simulator, slow tests unasked."""
    from lowrank_la import _arrays

    reasons = {
        "gpu": None if _arrays.have_gpu() else "no CUDA GPU",
        "cudasim": None if SIMULATOR else "runs with NUMBA_ENABLE_CUDASIM=1",
        "slow": None if "slow" in (config.getoption("-m") or "") else "slow: ask with -m slow",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
