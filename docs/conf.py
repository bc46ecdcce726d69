"""How the site is made: `make docs` writes it to out/docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from latentode import __version__

project = "latentode"
author = "The latentode developers"
project_copyright = "The latentode developers, Apache-2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "benchmark_tables",
]
html_theme = "furo"
html_title = "latentode"
html_show_sphinx = False
exclude_patterns = ["_ext"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Docstrings are plain text in which `this` is code.
default_role = "literal"
smartquotes = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 100
napoleon_custom_sections = [
    "Shapes",
    *((name, "params_style") for name in ("Attributes", "Columns", "Settings")),
    ("Gives", "returns_style"),
]
napoleon_use_rtype = False
napoleon_use_param = False  # "rtol, atol: tolerances" stays one entry


def setup(app: Any) -> None:
    """Before napoleon reads the sections of a docstring its equations are set apart."""
    app.connect("autodoc-process-docstring", literal_equations, priority=400)


def literal_equations(*event: Any) -> None:
    """An indented paragraph under a plain one is an equation, and is shown as it stands; a bar is a bar."""
    lines: list[str] = event[-1]
    found: list[str] = []
    previous, in_equation = "", False  # the last line that is not empty
    for number, line in enumerate(lines):
        indented, after_gap = line.startswith("    "), number > 0 and not lines[number - 1].strip()
        if line.strip() and not indented:
            in_equation = False
        is_list = re.match(r"[-*]|\d+\.|>>>", line.strip())
        if indented and after_gap and previous and not previous.startswith(" ") and not is_list:
            in_equation = True
            found += ["::", ""]
        found.append(line if in_equation else line.replace("|", r"\|"))
        previous = line if line.strip() else previous
    if event[1] == "property":
        found.insert(0, "\\ ")  # else napoleon takes what stands before a colon for its type
    lines[:] = found
