"""The documentation at /docs: the pages of api_docs/ as HTML, searchable by name, without scripts."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from flask import Blueprint, Response, redirect, request
from markdown_it import MarkdownIt
from werkzeug.wrappers import Response as AnyResponse

PLACES = (Path(__file__).parents[1] / "api_docs", Path(sys.prefix) / "share" / "pileus" / "api_docs")
"""Where the pages are: in a checkout, or as the package installs them."""
FOLDERS = ("commands", "responses", "guides", "decisions")
DATA = ("commands.json", "openapi.json")
LONGEST_SEARCH = 100

_SUFFIX = re.compile(r"\.md(?=#|$)")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, max-age=300",
}
_FRAME = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="/docs/style.css"></head>
<body>
<header><a href="/docs/">Pileus</a>
<form action="/docs/" role="search"><label for="q">Find a page by its name</label>
<input id="q" name="q" type="search" maxlength="100" value="{query}"><button>Find</button></form></header>
<main>
{body}</main>
</body></html>
"""
_STYLE = """:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 0 1rem 4rem; }
header { align-items: center; border-bottom: 1px solid var(--line); display: flex; flex-wrap: wrap; gap: .5rem 2rem;
  justify-content: space-between; padding: .75rem 0; }
header > a { font-weight: 700; }
header form { align-items: center; display: flex; flex-wrap: wrap; gap: .5rem; }
input, button { font: inherit; }
h1, h2, h3 { line-height: 1.2; margin-top: 2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
pre { background: var(--soft); overflow-x: auto; padding: .75rem; }
a { text-underline-offset: .15em; }
:focus-visible { outline: 2px solid; outline-offset: 2px; }
"""


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

    @cached_property
    def html(self) -> str:
        """The page as HTML. What is HTML in its Markdown is shown as text, and links lead to pages without suffix."""
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        tokens = markdown.parse(self.text)
        for number, token in enumerate(tokens):
            if token.type == "heading_open":
                token.attrSet("id", _anchor(tokens[number + 1].content))
            for inner in token.children or ():
                target = inner.attrGet("href") if inner.type == "link_open" else None
                if isinstance(target, str) and "://" not in target:
                    inner.attrSet("href", _SUFFIX.sub("", target))
        return str(markdown.renderer.render(tokens, markdown.options, {}))


def _anchor(heading: str) -> str:
    """What a link after # names a heading by, as Git hosting sites do."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@cache
def folder() -> Path | None:
    return next((place for place in PLACES if (place / "index.md").is_file()), None)


@cache
def pages() -> Mapping[str, Page]:
    """All pages by name; nothing else of the folder can be asked for."""
    top = folder()
    if top is None:
        return {}
    files = [top / "index.md", *(file for name in FOLDERS for file in sorted((top / name).glob("*.md")))]
    names = [file.relative_to(top).with_suffix("").as_posix() for file in files]
    return {name: Page(name, file) for name, file in zip(names, files, strict=True)}


def blueprint() -> Blueprint:
    site = Blueprint("docs", __name__)
    site.add_url_rule("/docs/", "index", _index)
    site.add_url_rule("/docs/style.css", "style", lambda: Response(_STYLE, mimetype="text/css"))
    site.add_url_rule("/docs/<path:name>", "page", _page)
    site.after_request(_with_headers)
    return site


def _with_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


def _index() -> Response:
    given = parse_qs(request.query_string.decode("ascii", "replace"))
    query = given.get("q", [""])[0].strip()[:LONGEST_SEARCH]
    return _found(query) if query else _shown("index")


def _found(query: str) -> Response:
    """The pages in whose name or title the words of the query stand."""
    words = query.lower().split()
    hits = [page for page in pages().values() if all(word in f"{page.name} {page.title}".lower() for word in words)]
    lines = [f'<li><a href="/docs/{escape(page.name)}">{escape(page.title)}</a> {_kind(page)}</li>' for page in hits]
    listed = f"<ul>\n{chr(10).join(lines)}\n</ul>" if lines else "<p>No page has that in its name.</p>"
    return _framed(f"Pages: {query}", f"<h1>Pages named {escape(query)}</h1>\n{listed}\n", query=query)


def _kind(page: Page) -> str:
    return f"({page.name.partition('/')[0]})" if "/" in page.name else ""


def _page(name: str) -> AnyResponse:
    top = folder()
    if name in DATA and top is not None:
        return Response((top / name).read_bytes(), mimetype="application/json")
    if name.endswith(".md"):
        return redirect(f"/docs/{name.removesuffix('.md')}") if name.removesuffix(".md") in pages() else _absent()
    return _shown(name)


def _shown(name: str) -> Response:
    page = pages().get(name)
    return _absent() if page is None else _framed(page.title, page.html)


def _absent() -> Response:
    reason = "There is no such page." if pages() else "The pages of the documentation are not installed here."
    return _framed("No such page", f"<h1>No such page</h1>\n<p>{reason}</p>\n", status=404)


def _framed(title: str, body: str, *, query: str = "", status: int = 200) -> Response:
    text = _FRAME.format(title=escape(title), body=body, query=escape(query))
    return Response(text, status, content_type="text/html; charset=UTF-8")
