"""Hot loops, one file each: reference in the array API, Numba for the CPU, CUDA for the GPU, one dispatcher.

A kernel's file loads at its first use, so that Numba is imported only when needed.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(f"module {__name__!r} has no kernel {name!r}") from error
