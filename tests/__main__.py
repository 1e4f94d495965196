"""Run every check in turn and stop at the first that fails: python -m tests."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
STEPS = [
    ("lint", [PYTHON, "-m", "ruff", "check"]),
    ("format", [PYTHON, "-m", "ruff", "format", "--check", "--quiet"]),
    ("types", [PYTHON, "-m", "pyright", "--pythonpath", PYTHON]),
    ("CUDA kernels in the simulator", [PYTHON, "-m", "pytest", "-q", "-m", "cudasim", "tests"]),
    ("documentation and examples", [PYTHON, "-m", "sphinx", "-W", "-q", "-b", "html", "docs", "docs/_build/html"]),
    ("wheel in an empty environment", [PYTHON, "-m", "pytest", "-q", "-m", "slow", "tests/test_packaging.py"]),
    ("tests", [PYTHON, "-m", "pytest", "-q", "-n", "2", "--durations=15"]),  # two at a time: compiling is serial
]


def main() -> int:
    """Run the steps; return the exit status of the first that fails."""
    for name, command in STEPS:
        print(f"\n== {name}", flush=True)
        simulate = {"NUMBA_ENABLE_CUDASIM": "1"} if "cudasim" in command else {}
        environment = {**os.environ, "MPLBACKEND": "Agg", **simulate}
        status = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
        if status:
            print(f"{name}: failed", file=sys.stderr)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
