"""The pages as a site, which opens without a server: `python -m sphinx -W -q -c docs . build/site`.

Every page is the repository's own file, where it lies. `PARTS` is the navigation; the build fails where a page is
missing from it, a link leads nowhere or a docstring cannot be read. A reader's browser fetches nothing from elsewhere.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[1]
PARTS = {
    "Start": ["docs/installation", "docs/tour", "docs/reading", "docs/faq"],
    "Your own": ["docs/network", "docs/data", "docs/custom-detector"],
    "Attacks": ["docs/threat-models", "docs/attacks", "docs/trust", "docs/intervals"],
    "Results": [
        "docs/report",
        "docs/comparing",
        "docs/leaderboard",
        "reports/README",
        "benchmarks/RESULTS",
        "docs/parity",
    ],
    "Certificates": ["docs/certification", "docs/theorems"],
    "Running": ["docs/performance", "docs/cluster", "docs/security"],
    "Reference": ["docs/names", "docs/api", "CONTRIBUTING", "CHANGELOG"],
}
"""The navigation: a caption, and the pages below it."""
REPORTS = sorted(page.relative_to(ROOT).with_suffix("").as_posix() for page in ROOT.glob("reports/*/*.md"))
"""Pages below that of the reports."""
LISTED = ["README", *(page for part in PARTS.values() for page in part), *REPORTS]

project = html_title = "RoodBench"
copyright = "the RoodBench developers, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = [f"{page}.md" for page in (*LISTED, "docs/*")]
exclude_patterns = ["build"]
myst_heading_anchors = 3
highlight_language = "text"
smartquotes = False
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_use_index = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7cb8f5", "color-brand-content": "#7cb8f5"},
}
CODE = re.compile(r"^```.*?^```|`[^`\n]+(?:\n[^`\n]+)*`", re.MULTILINE | re.DOTALL)
MENTION = re.compile(r"(?<!\]\()(?<![\w/.])`?((?:docs/[\w-]+|benchmarks/RESULTS|CONTRIBUTING)\.md)`?(?![\w`])")


def toctree(pages: list[str], caption: str = "Pages") -> str:
    """The lines that give a page others below it."""
    lines = ["```{toctree}", ":hidden:", f":caption: {caption}", "", *(f"/{page}" for page in pages), "```"]
    return "\n\n" + "\n".join(lines)


def linked(text: str, place: PurePosixPath) -> str:
    """A page's text whose mentions of other pages, such as docs/data.md, are links that show these pages' titles."""
    up = "../" * (len(place.parts) - 1)

    def link(part: str) -> str:
        return MENTION.sub(lambda m: f"[]({up}{m[1]})", part)

    pieces, end = [], 0
    for code in CODE.finditer(text):
        pieces += [link(text[end : code.start()]), link(code[0]) if MENTION.fullmatch(code[0]) else code[0]]
        end = code.end()
    return "".join([*pieces, link(text[end:])])


def read(app: Any, name: str, source: list[str]) -> None:
    """A page as it is shown: with links, a title where it has none, and the pages below it."""
    text = linked(source[0], PurePosixPath(name))
    if not text.startswith("# "):
        *_, folder, page = PurePosixPath(name).parts
        text = f"# {folder}: {page}\n\n{text}"
    if name == root_doc:
        text += "".join(toctree(pages, caption) for caption, pages in PARTS.items())
    if name == "reports/README":
        text += toctree(REPORTS)
    source[0] = text


def opened(app: Any, doctree: Any, name: str) -> None:
    """A link to a page or picture that lies beside a record opens it; Sphinx would offer to keep a copy."""
    from docutils import nodes
    from sphinx import addnodes

    for node in list(doctree.findall(addnodes.download_reference)):
        if "filename" in node:
            up = "../" * name.count("/")
            node.replace_self(nodes.reference("", "", *node.children, refuri=f"{up}_downloads/{node['filename']}"))


def levelled(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The navigation's captions say to screen readers which level of heading they are."""
    tree = "furo_navigation_tree"
    context[tree] = context[tree].replace('role="heading"', 'role="heading" aria-level="2"')


def finished(app: Any, error: Exception | None) -> None:
    """The first page has the name by which servers find it."""
    if error is None:
        shutil.copy(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("source-read", read)
    app.connect("doctree-resolved", opened)
    app.connect("html-page-context", levelled, priority=900)  # after the theme
    app.connect("build-finished", finished)
