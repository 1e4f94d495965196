"""The package as others get it: metadata, README, and a wheel in an empty environment."""

import ast
import doctest
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lowrank_la

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _run_python_blocks(path):
    """Run the blocks that start with an import; A and b stand for a reader's problem."""
    A = np.vander(np.linspace(0, 1, 1000), 5)
    namespace = {"A": A, "b": A @ np.ones(5)}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        if block.startswith(("import ", "from ")):
            exec(compile(block, path.name, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_code_in_the_documentation_runs(path):
    _run_python_blocks(path)
    failed, _ = doctest.testfile(str(path), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_the_readme_code_does_what_it_says():
    namespace = _run_python_blocks(ROOT / "README.md")
    assert namespace["solution"].certificate.bound >= 0
    assert namespace["completed"].certificate.bound >= 0


def test_the_readme_has_the_two_commands_on_a_line_each():
    lines = README.splitlines()
    assert sum(line.startswith("python3 -m venv .venv && ") and line.endswith("lowrank-la demo") for line in lines) == 1
    assert sum(line.startswith("python3 -m venv .venv && ") and line.endswith("python -m tests") for line in lines) == 1


def test_continuous_integration_runs_the_readme_command():
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"grep -m 1 -- '(.*?)' README.md", script).group(1)
    found = [line for line in README.splitlines() if re.search(pattern, line)]
    assert len(found) == 1


def test_the_version_is_the_same_everywhere():
    assert f"version: {lowrank_la.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_extras_are_those_the_documentation_lists():
    listed = set(re.findall(r"`([a-z0-9]+)`", "".join(re.findall(r"^\|(.*?)\|", (ROOT / "docs/install.md").read_text(), re.MULTILINE))))
    assert listed == set(PROJECT["optional-dependencies"])
    everything = " ".join(PROJECT["optional-dependencies"]["all"])
    assert "cuda" not in everything
    assert "peers" not in everything


def test_every_module_that_is_imported_is_declared():
    declared = {re.split(r"[\[<>=]", line)[0].lower() for lines in [PROJECT["dependencies"]] for line in lines}
    for extra in PROJECT["optional-dependencies"].values():
        declared |= {re.split(r"[\[<>=]", line)[0].lower() for line in extra}
    distributions = {"sklearn": "scikit-learn", "cupyx": "cupy-cuda13x", "cupy": "cupy-cuda13x", "llvmlite": "numba"}
    for path in (ROOT / "lowrank_la").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"lowrank_la"}:
                assert distributions.get(name, name).replace("_", "-") in {d.replace("_", "-") for d in declared}, f"{path}: {name}"


@pytest.mark.slow
def test_a_wheel_works_in_an_empty_environment(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"lowrank_la/py.typed", "lowrank_la/__init__.pyi", "lowrank_la/kernels/philox.py"} <= set(names)
    assert all(name.startswith(("lowrank_la/", "lowrank_la-")) for name in names)
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[demo]"], check=True, cwd=tmp_path)
    shown = subprocess.run([python, "-m", "lowrank_la", "info"], check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "not installed" in shown.split("PyTorch:")[1].splitlines()[0]
    ran = subprocess.run(
        [python.with_name("lowrank-la"), "demo", "--out", "pictures"], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.stderr == ""
    assert ran.stdout.count("<=") == 3
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"photograph.png", "convergence.png", "bounds.png"}
