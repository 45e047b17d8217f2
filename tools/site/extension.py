"""A Sphinx extension: the directive ``public``, docstrings as this project writes them, and drawings in both themes.

``public PACKAGE MODULE...`` documents the public names of a package that the modules define, in the order of the
package's list. A module that ends in ``.*`` stands for all below it. ``public-others PACKAGE`` documents the names that
no page of the reference has asked for, so that a new name is never left out.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles
from sphinx.util.typing import ExtensionMetadata

from tools.site.docstrings import marked
from tools.site.drawings import FOLLOWS, MODES, fixed
from tools.site.names import homes

ASKED: Final = re.compile(r"^\.\. public:: (\S+)(.*)$", re.MULTILINE)


class Public(SphinxDirective):
    """Document the public names of a package that some modules define."""

    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True
    has_content = False

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        wanted = self.arguments[1].split() if len(self.arguments) > 1 else ["*"]
        found = named(package, wanted)
        if not found:
            raise self.error(f"no public name of {package} comes from {' '.join(wanted)}")
        return self.describe(package, found)

    def describe(self, package: str, names: list[str]) -> list[nodes.Node]:
        """Return what documents names."""
        lines = [line for name in names for line in directive(package, name)]
        place = nodes.section()
        place.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, source=package), place)
        return list(place.children)


class PublicOthers(Public):
    """Document the public names of a package that no page of the reference has asked for."""

    optional_arguments = 0

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        known: set[str] = set()
        for page in sorted(Path(self.env.srcdir, "api").glob("*.md")):
            self.env.note_dependency(str(page))
            for asked in ASKED.finditer(page.read_text(encoding="utf-8")):
                if asked[1] == package:
                    known.update(named(package, asked[2].split() or ["*"]))
        return self.describe(package, [name for name in homes(package) if name not in known])


class BothForms(SphinxPostTransform):
    """Show a drawing that follows the system's colour scheme in two forms, each for one theme of the site."""

    default_priority = 110  # after the candidates are settled, and before they are copied
    formats = ("html",)

    def run(self, **_given: Any) -> None:
        for image in list(self.document.findall(nodes.image)):
            source = Path(self.env.srcdir, image["uri"])
            if source.suffix == ".svg" and source.is_file() and FOLLOWS in (text := source.read_text(encoding="utf-8")):
                image.replace_self([self.form(image, source, text, mode) for mode in MODES])

    def form(self, image: nodes.image, source: Path, text: str, mode: str) -> nodes.image:
        """Return the image in one mode."""
        path = Path(self.env.doctreedir, "drawings", f"{source.stem}-{mode}.svg")
        path.parent.mkdir(exist_ok=True)
        path.write_text(fixed(text, mode), encoding="utf-8")
        form = image.deepcopy()
        form["uri"] = str(path)
        form["candidates"] = {"*": form["uri"]}
        form["classes"].append(f"only-{mode}")
        self.env.images.add_file(self.env.docname, form["uri"])
        return form


def named(package: str, patterns: list[str]) -> list[str]:
    """Return the public names whose modules match patterns, in the order of the patterns and of the package's list."""
    found = [
        name
        for pattern in patterns
        for name, home in homes(package).items()
        if home == pattern or fnmatchcase(home, pattern)
    ]
    return list(dict.fromkeys(found))


def directive(package: str, name: str) -> Iterator[str]:
    """Yield the lines that document a public name."""
    value: object = getattr(importlib.import_module(package), name)
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        yield f".. auto{kind}:: {package}.{name}"
        yield "   :members:"
        yield "   :inherited-members: BaseException, Reply, Page, tuple, object"
        yield "   :show-inheritance:" if kind == "exception" else "   :exclude-members: __init__, __new__"
    elif inspect.isfunction(value):
        yield f".. autofunction:: {package}.{name}"
    elif inspect.ismodule(value):
        return
    else:
        yield f".. autodata:: {package}.{name}"
    yield ""


def process_docstring(_app: Sphinx, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = marked(lines)


def process_signature(
    _app: Sphinx, what: str, _name: str, value: Any, _options: Any, _signature: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Leave out the signatures of classes that callers do not make: the docstring of ``__init__`` says what to use."""
    if what == "class" and "Use `" in (getattr(getattr(value, "__init__", None), "__doc__", "") or ""):
        return "", result
    return None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives, the forms of drawings and the treatment of docstrings."""
    app.add_directive("public", Public)
    app.add_directive("public-others", PublicOthers)
    app.add_post_transform(BothForms)
    # Before napoleon's, which takes what stands in sections.
    app.connect("autodoc-process-docstring", process_docstring, priority=400)
    app.connect("autodoc-process-signature", process_signature)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
