"""A page as its tables, for tests."""

from __future__ import annotations

from html.parser import HTMLParser


class Tables(HTMLParser):
    """The lines of each table by its id, each cell with its words one space apart; and every tag and attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.lines: dict[str, list[list[str]]] = {}
        self.heads: dict[str, list[str]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.key, self.row, self.into, self.is_line, self.hidden, self.in_body = "", [], None, False, 0, False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.hidden += tag in ("style", "script", "svg")
        if tag == "table":
            self.key = found["id"].removesuffix("-table")
            self.lines[self.key], self.heads[self.key] = [], []
        elif tag in ("thead", "tbody"):
            self.in_body = tag == "tbody"
        elif tag == "tr":
            self.row, self.is_line = [], self.in_body and found.get("class") != "heading"
        elif tag in ("th", "td"):
            self.into = []

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "script", "svg")
        if tag in ("th", "td"):
            self.row.append(" ".join("".join(self.into).split()))
            self.into = None
        elif tag == "tr" and self.is_line:
            self.lines[self.key].append(self.row)
        elif tag == "tr" and not self.heads[self.key]:
            self.heads[self.key] = self.row

    def handle_data(self, data):
        if self.into is not None and not self.hidden:
            self.into.append(data)
        if not self.hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
