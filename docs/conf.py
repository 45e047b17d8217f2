"""Sphinx's settings. ``nox -s docs`` builds the site and checks its links."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent.parent))

project = "arker-async"
author = "The arker-async authors"
copyright = "the arker-async authors"
version = release = os.environ.get("ARKER_DOCS_VERSION") or metadata.version("arker-async")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "tools.site.extension",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_templates", "diagrams/README.md"]
templates_path = ["_templates"]
default_role = "py:obj"
highlight_language = "text"

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_context = {"versions": os.environ.get("ARKER_DOCS_VERSIONS", "").split()}
html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"arker-async {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "versions.html",
        "sidebar/scroll-end.html",
    ]
}
copybutton_exclude = ".linenos, .gp, .go"


def setup(app: Sphinx) -> None:
    """Let the architecture's list of layers, which a test reads, be shown as text."""
    app.add_lexer("layers", TextLexer)
