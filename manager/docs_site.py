"""The documentation at /docs: the pages of api_docs/ as HTML, searchable, without scripts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from flask import Blueprint, Response, redirect, request
from markdown_it import MarkdownIt
from markdown_it.token import Token
from werkzeug.wrappers import Response as AnyResponse

from manager.api.pages import anchor
from manager.docs_frame import SECTIONS, STYLE, Framed, Heading, framed

PLACES = (Path(__file__).parents[1] / "api_docs", Path(sys.prefix) / "share" / "pileus" / "api_docs")
"""Where the pages are: in a checkout, or as the package installs them."""
DATA = ("commands.json", "openapi.json")
LONGEST_SEARCH = 100  # characters
MOST_FOUND = 100  # pages

_SUFFIX = re.compile(r"\.md(?=#|$)")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, max-age=300",
}


@dataclass(frozen=True)
class Page:
    """A page by its name without suffix, such as commands/listZones."""

    name: str
    file: Path

    @cached_property
    def text(self) -> str:
        return self.file.read_text()

    @property
    def title(self) -> str:
        return self.text.split("\n", maxsplit=1)[0].lstrip("# ").strip()

    @property
    def section(self) -> str:
        return self.name.rpartition("/")[0]

    @cached_property
    def summary(self) -> str:
        """The first paragraph, without the marks of Markdown."""
        parts = self.text.split("\n\n", maxsplit=2)
        is_text = len(parts) > 1 and not parts[1].startswith(("#", "|", "- ", "```", "    "))
        first = " ".join(parts[1].split()) if is_text else ""
        return re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", first)

    @cached_property
    def words(self) -> str:
        """What a search looks through."""
        return f"{self.name} {self.text}".lower()

    @cached_property
    def rendered(self) -> tuple[str, list[Heading]]:
        """The page as HTML, with its headings below the title.

        What is HTML in its Markdown is shown as text, links lead to pages without suffix, headings can be linked to,
        and cells know their column, for screens on which rows are shown below each other.
        """
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        tokens = markdown.parse(self.text)
        headings: list[Heading] = []
        columns: list[str] = []
        column = 0
        for number, token in enumerate(tokens):
            if token.type == "heading_open":
                found = _linked(token, tokens[number + 1])
                headings += [found] if found.level > 1 else []
            elif token.type == "thead_open":
                columns = []
            elif token.type == "th_open":
                columns.append(tokens[number + 1].content)
            elif token.type == "tr_open":
                column = 0
            elif token.type == "td_open":
                token.attrSet("data-label", columns[column])
                column += 1
            for inner in token.children or ():
                target = inner.attrGet("href") if inner.type == "link_open" else None
                if isinstance(target, str) and "://" not in target:
                    inner.attrSet("href", _SUFFIX.sub("", target))
        return str(markdown.renderer.render(tokens, markdown.options, {})), headings


def _linked(opening: Token, inline: Token) -> Heading:
    """Give a heading its anchor, and below the title a link to it."""
    found = Heading(int(opening.tag[1]), anchor(inline.content), inline.content.replace("`", ""))
    opening.attrSet("id", found.anchor)
    if found.level > 1 and inline.children is not None:
        link = f'<a class="anchor" href="#{escape(found.anchor)}" aria-label="Link to this heading">#</a>'
        inline.children.append(Token("html_inline", "", 0, content=link))
    return found


@cache
def folder() -> Path | None:
    return next((place for place in PLACES if (place / "index.md").is_file()), None)


@cache
def pages() -> Mapping[str, Page]:
    """All pages by name; nothing else of the folder can be asked for."""
    top = folder()
    if top is None:
        return {}
    files = [top / "index.md", *(file for name in SECTIONS for file in sorted((top / name).glob("*.md")))]
    names = [file.relative_to(top).with_suffix("").as_posix() for file in files]
    return {name: Page(name, file) for name, file in zip(names, files, strict=True)}


def blueprint() -> Blueprint:
    site = Blueprint("docs", __name__)
    site.add_url_rule("/docs/", "index", _index)
    site.add_url_rule("/docs/style.css", "style", lambda: Response(STYLE, mimetype="text/css"))
    site.add_url_rule("/docs/<path:name>", "page", _page)
    site.after_request(_with_headers)
    return site


def _with_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


def _index() -> AnyResponse:
    given = parse_qs(request.query_string.decode("ascii", "replace"))
    query = " ".join(given.get("q", [""])[0][:LONGEST_SEARCH].split())
    if not query:
        return _shown("index")
    exact = next((page for page in pages().values() if page.name.rpartition("/")[2].lower() == query.lower()), None)
    return redirect(f"/docs/{exact.name}") if exact is not None and exact.section else _found(query)


def _found(query: str) -> Response:
    """The pages in which all words of the query stand, those first that have them in their name or title."""
    words = query.lower().split()
    hits = [page for page in pages().values() if all(word in page.words for word in words)]

    def order(page: Page) -> tuple[int, int, str]:
        named = sum(word in f"{page.name} {page.title}".lower() for word in words)
        return -named, list(SECTIONS).index(page.section) if page.section else -1, page.name

    listed = _listed(sorted(hits, key=order)[:MOST_FOUND], with_section=True) if hits else "<p>No page has that.</p>"
    more = f" The first {MOST_FOUND} are shown." if len(hits) > MOST_FOUND else ""
    count = f'<p class="dim">{len(hits)} page{"s" if len(hits) != 1 else ""}.{more}</p>' if hits else ""
    body = f"<h1>{escape(query)}</h1>\n{count}{listed}\n"
    return _framed(Framed(f"Search: {query}", body, query=query))


def _listed(found: Iterable[Page], *, with_section: bool = False) -> str:
    lines = [
        f'<dt><a href="/docs/{escape(page.name)}">{escape(page.title)}</a>'
        + (f' <span class="dim">{escape(page.section)}</span>' if with_section and page.section else "")
        + "</dt>"
        + (f"<dd>{escape(page.summary)}</dd>" if page.summary else "")
        for page in found
    ]
    return f'<dl class="found">\n{chr(10).join(lines)}\n</dl>'


def _section(name: str) -> Response:
    """All pages of one section, by name."""
    found = sorted((page for page in pages().values() if page.section == name), key=lambda page: page.name.lower())
    return _framed(Framed(SECTIONS[name], f"<h1>{SECTIONS[name]}</h1>\n{_listed(found)}\n", name))


def _page(name: str) -> AnyResponse:
    top = folder()
    if name in DATA and top is not None:
        return Response((top / name).read_bytes(), mimetype="application/json")
    if name.rstrip("/") in SECTIONS and pages():
        return _section(name.rstrip("/")) if name.endswith("/") else redirect(f"/docs/{name}/")
    if name.endswith(".md"):
        return redirect(f"/docs/{name.removesuffix('.md')}") if name.removesuffix(".md") in pages() else _absent()
    return _shown(name)


def _shown(name: str) -> Response:
    page = pages().get(name)
    if page is None:
        return _absent()
    html, headings = page.rendered
    return _framed(Framed(page.title, html, page.section, headings=headings))


def _absent() -> Response:
    reason = "There is no such page." if pages() else "The pages of the documentation are not installed here."
    return _framed(Framed("No such page", f"<h1>No such page</h1>\n<p>{reason}</p>\n"), status=404)


def _framed(page: Framed, *, status: int = 200) -> Response:
    return Response(framed(page, _names()), status, content_type="text/html; charset=UTF-8")


@cache
def _names() -> tuple[str, ...]:
    """What the search field offers: the commands."""
    return tuple(page.title for page in pages().values() if page.section == "commands")
