"""Examples are short, draw a picture and need no network; building the documentation runs them."""

import ast
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short_and_drawn(path):
    text = path.read_text()
    assert path.name.startswith("plot_"), "the gallery runs only plot_*.py"
    assert len(text.splitlines()) < 60
    title = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert len(title) > 2
    assert len(title[1]) >= len(title[0])
    assert set(title[1]) == {"="}
    assert "matplotlib" in text or ".plot()" in text
    assert not any(word in text for word in ("urlopen", "fetch_", "download", "requests"))
