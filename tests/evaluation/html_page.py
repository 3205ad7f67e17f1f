# SPDX-License-Identifier: Apache-2.0
"""Reads a report page without a browser."""

from html.parser import HTMLParser

_VOID = {"meta", "br", "link", "img", "hr", "input", "wbr"}


class Page(HTMLParser):
    """Elements of a page; fails on elements that are not closed in order."""

    def __init__(self, content: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def attributes(self, name: str) -> list[str]:
        """The values of an attribute in all elements that have it."""
        return [value for _, values in self.elements if (value := values.get(name))]

    @property
    def plots(self) -> list[str]:
        """The titles of all plots, as their accessible names begin."""
        return [str(values["aria-label"]).split(". ")[0] for tag, values in self.elements if tag == "svg"]
