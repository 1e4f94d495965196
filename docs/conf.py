"""How the documentation is built; nothing here needs a network."""

import re
import warnings
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

import lowrank_la

project = "lowrank_la"
author = "The lowrank_la developers"
project_copyright = "2026, the lowrank_la developers"
version = release = lowrank_la.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
exclude_patterns = ["_build", "gallery/*.md5", "gallery/*.ipynb", "gallery/*.py", "gallery/*.zip", "gallery/*.json"]
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

templates_path = ["_templates"]  # of classes, without what they inherit
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme = "pydata_sphinx_theme"
html_title = "lowrank_la"
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
html_context = {"default_mode": "auto"}
html_sidebars = {"*": []}  # pages at the top have nothing beside them
html_show_sourcelink = False
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": str(Path(__file__).parent.parent / "examples"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"[\\/]plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

warnings.filterwarnings("ignore", message=".*Agg, which is a non-GUI backend.*")


def _mathml(node, as_block):
    try:
        return latex2mathml.tex2mathml(node.astext().replace(r"\texttt", r"\text"), as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in the formula %s", error, node.astext(), location=node)
        return node.astext()


def _inline_formula(translator, node):
    translator.body.append(f"<span class='formula'>{_mathml(node, as_block=False)}</span>")
    raise SkipNode


def _display_formula(translator, node):
    translator.body.append(f"<div class='formula'>{_mathml(node, as_block=True)}</div>")
    raise SkipNode


def _escape_bars(app, what, name, thing, options, lines):
    """Let docstrings write |x| for an absolute value, which reStructuredText takes for a substitution."""
    literal = None  # indentation of the line that opened a literal block
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None and not line.lstrip().startswith((">>>", "...")):
            lines[number] = re.sub(r"(?<!`)\|(?!`)", r"\|", line)
        if line.rstrip().endswith("::"):
            literal = indent


def setup(app):
    # MathML: browsers draw it themselves, with no script, font or server
    app.connect("autodoc-process-docstring", _escape_bars, priority=400)  # before numpydoc
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_display_formula, None))
