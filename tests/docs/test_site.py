"""The site: every page is in its navigation, and every link leads somewhere. `.ci/run` builds it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path, PurePosixPath

import pytest

from tests.docs.pages import BLOCK, PAGES, ROOT, name_of

CONF = runpy.run_path(str(ROOT / "docs/conf.py"))
LISTED = CONF["LISTED"]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([\w-]+))?\)")


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings, in lower case, with hyphens for spaces."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def test_every_page_is_in_the_navigation_once():
    assert len(LISTED) == len(set(LISTED))
    shown = {f"{page}.md" for page in LISTED}
    assert {name_of(page) for page in PAGES if not name_of(page).startswith("roodbench/")} <= shown
    assert all((ROOT / page).is_file() for page in shown)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    for target, anchor in LINK.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http:", "https:")):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.is_file(), f"no {target}"
        assert not anchor or anchor in anchors(there), f"{target} has no heading #{anchor}"


def test_a_page_that_is_named_is_linked():
    text = (
        "See docs/data.md, `docs/a-b.md` and [x](docs/c.md).\n```\ndocs/d.md\n```\n`x docs/e.md` benchmarks/RESULTS.md."
    )
    assert CONF["linked"](text, PurePosixPath("reports/f/README")) == (
        "See [](../../docs/data.md), [](../../docs/a-b.md) and [x](docs/c.md).\n```\ndocs/d.md\n```\n"
        "`x docs/e.md` [](../../benchmarks/RESULTS.md)."
    )
