"""The frame and the style of the documentation's pages. No scripts, and nothing from elsewhere."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

SECTIONS = {"commands": "Commands", "responses": "Responses", "guides": "Guides", "decisions": "Decisions"}

_FRAME = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="/docs/style.css?{version}"></head>
<body>
<a class="skip" href="#main">To the text</a>
<header><nav aria-label="Sections"><a href="/docs/">Pileus</a>
{sections}</nav>
<form action="/docs/" role="search"><input name="q" type="search" maxlength="100" list="names" value="{query}"
aria-label="Command, parameter or word" placeholder="Command, parameter or word"><button>Find</button>
<datalist id="names">{names}</datalist></form></header>
<div class="page{wide}">{contents}
<main id="main">
{body}</main></div>
</body></html>
"""
STYLE = """:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
:root { --link: #0b57d0; --seen: #6b3fa0; --dim: #595959; }
@media (prefers-color-scheme: dark) { :root { --link: #9ecbff; --seen: #d0b3ff; --dim: #adadad; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 84rem; overflow-wrap: break-word;
  padding: 0 1rem 4rem; }
a { color: var(--link); text-underline-offset: .15em; }
main a:visited { color: var(--seen); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.skip { left: -99rem; position: absolute; }
.skip:focus { left: 1rem; top: .25rem; }
header { align-items: center; border-bottom: 1px solid var(--line); display: flex; flex-wrap: wrap; gap: .5rem 2rem;
  justify-content: space-between; padding: .75rem 0; }
header nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
header nav a { padding: .2rem 0; text-decoration: none; }
header nav a:first-child { font-weight: 700; }
header nav [aria-current] { border-bottom: 2px solid; }
form { display: flex; flex: 0 1 26rem; gap: .5rem; }
input { flex: 1; min-width: 0; }
input, button { font: inherit; padding: .25rem .6rem; }
.page { display: grid; gap: 0 3rem; }
main { max-width: 64rem; min-width: 0; }
h1, h2, h3 { line-height: 1.25; margin: 2.2rem 0 .8rem; }
h1 { font-size: clamp(1.35rem, 5.5vw, 1.9rem); margin-top: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; }
h3 { font-size: 1.1rem; }
.anchor { color: var(--dim); font-weight: 400; margin-left: .4em; opacity: 0; text-decoration: none; }
.anchor:focus-visible, :hover > .anchor { opacity: 1; }
:target { background: var(--soft); }
.contents { border: 1px solid var(--line); font-size: .9rem; margin-top: 1rem; max-height: 11rem; overflow-y: auto;
  padding: .6rem 1rem; }
.contents ul { list-style: none; margin: .3rem 0 0; padding: 0; }
.contents li { margin: .25rem 0; }
.contents .deeper { padding-left: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem 1rem .4rem 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
td:first-child { overflow-wrap: normal; }
code, pre { font: .9em/1.5 ui-monospace, monospace; }
pre { background: var(--soft); overflow-x: auto; padding: .75rem; white-space: pre-wrap; word-break: break-word; }
.dim { color: var(--dim); }
dl.found dt { margin-top: .9rem; }
dl.found dd { color: var(--dim); margin: 0; }
@media (min-width: 75rem) {
  .page.wide { grid-template-columns: minmax(0, 1fr) 17rem; }
  .contents { align-self: start; border-width: 0 0 0 1px; grid-column: 2; margin-top: 1.5rem;
    max-height: calc(100vh - 3rem); position: sticky; top: 1.5rem; }
  .page.wide main { grid-column: 1; grid-row: 1; }
}
@media (max-width: 45rem) {
  form { flex-basis: 100%; }
  table, tbody, tr, td { display: block; }
  thead { display: none; }
  tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  td { border: 0; overflow-wrap: anywhere; padding: .1rem 0; }
  td:first-child { font-weight: 600; overflow-wrap: anywhere; }
  td:empty { display: none; }
  td:not(:first-child):not([data-label=""])::before { color: var(--dim); content: attr(data-label) ": "; }
}
@media print { header form, .contents, .anchor { display: none; } }
"""
_VERSION = f"{zlib.crc32(STYLE.encode()):08x}"  # so that no browser shows new pages in an old style


class Heading(NamedTuple):
    level: int
    anchor: str
    text: str


class Framed(NamedTuple):
    """A page's parts. `body` is HTML, all else is text; `section` is one of SECTIONS, or nothing."""

    title: str
    body: str
    section: str = ""
    query: str = ""
    headings: Sequence[Heading] = ()


def framed(page: Framed, names: Iterable[str]) -> str:
    """The whole HTML; `names` are what the search field offers."""
    contents = _contents(page.headings)
    return _FRAME.format(
        version=_VERSION,
        title=escape(page.title if page.title.startswith("Pileus") else f"{page.title} · Pileus"),
        sections="\n".join(_section(name, title, page.section) for name, title in SECTIONS.items()),
        query=escape(page.query),
        names="".join(f"<option>{escape(name)}" for name in names),
        wide=" wide" if contents else "",
        contents=contents,
        body=page.body,
    )


def _section(name: str, title: str, current: str) -> str:
    mark = ' aria-current="true"' if name == current else ""
    return f'<a href="/docs/{name}/"{mark}>{title}</a>'


def _contents(headings: Sequence[Heading]) -> str:
    if len(headings) < 3:  # noqa: PLR2004 - fewer are seen at once
        return ""
    top = min(one.level for one in headings)
    lines = [
        f'<li{"" if one.level == top else " class=deeper"}><a href="#{escape(one.anchor)}">{escape(one.text)}</a></li>'
        for one in headings
    ]
    return f'<nav class="contents" aria-label="On this page"><b>On this page</b><ul>{"".join(lines)}</ul></nav>'
