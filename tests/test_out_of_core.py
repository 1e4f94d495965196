"""The proof that a file larger than memory can be factored runs at a small size."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_a_small_file_is_factored_under_a_limit(tmp_path):
    options = ["--gigabytes", "0.06", "--limit", "1", "--rank", "5", "--directory", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.out_of_core", *options], cwd=ROOT, capture_output=True, text=True, check=True)
    figures = {name: float(value) for name, value in (line.split(": ") for line in done.stdout.splitlines()[1:])}
    assert figures["rows"] == 3750
    assert figures["least error"] <= figures["error"] <= figures["certificate"] < 6 * figures["least error"]
    assert list(tmp_path.iterdir()) == []
