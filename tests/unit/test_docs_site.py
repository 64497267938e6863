"""The documentation as the management server serves it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from manager import docs_site
from manager.app import create_app


@pytest.fixture
def site(engine):
    return create_app(engine).test_client()


class Links(HTMLParser):
    """Every address that a page refers to, and the elements that it has."""

    def __init__(self):
        super().__init__()
        self.targets, self.elements = [], set()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.targets += [value for name, value in attrs if name in ("href", "src", "action")]


def links(response):
    parser = Links()
    parser.feed(response.text)
    return parser


@pytest.mark.parametrize("path", ["/docs/", "/docs/?q=zone", "/docs/commands/deployVirtualMachine", "/docs/nothing"])
def test_pages_need_no_scripts_and_nothing_from_elsewhere(site, path):
    response = site.get(path)
    assert response.content_type == "text/html; charset=UTF-8"
    found = links(response)
    assert "script" not in found.elements
    assert [target for target in found.targets if re.match(r"(https?:)?//", target)] == []
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_every_link_of_every_page_leads_to_one(site):
    seen, waiting = set(), ["/docs/"]
    while waiting:
        path = waiting.pop()
        response = site.get(path)
        assert response.status_code == 200, path
        if response.mimetype != "text/html":
            continue
        for target in links(response).targets:
            place, _, anchor = target.partition("#")
            absolute = place if place.startswith("/") else _joined(path, place) if place else path
            if anchor:
                assert f'id="{anchor}"' in site.get(absolute).text, target
            if "://" not in target and absolute not in seen:
                seen.add(absolute)
                waiting.append(absolute)
    assert {f"/docs/{name}" for name in docs_site.pages() if name != "index"} <= seen


def _joined(path, target):
    folder = path.rsplit("/", 1)[0]
    while target.startswith("../"):
        folder, target = folder.rsplit("/", 1)[0], target[3:]
    return f"{folder}/{target}"


def test_pages_are_found_by_name(site):
    found = links(site.get("/docs/?q=virtualmachine%20deploy")).targets
    assert "/docs/commands/deployVirtualMachine" in found
    assert "/docs/commands/listZones" not in found
    assert "No page has that" in site.get("/docs/?q=unicorn").text


def test_pages_are_found_by_their_words_those_that_are_named_so_first(site):
    """rootdisksize is a parameter, which stands in no name."""
    found = links(site.get("/docs/?q=rootdisksize")).targets
    assert "/docs/commands/deployVirtualMachine" in found
    text = site.get("/docs/?q=ssh+pair").text
    assert text.index("createSSHKeyPair</a>") < text.index("deployVirtualMachine</a>")
    assert "Make a key pair, store its public key" in text


def test_the_whole_name_of_a_page_leads_to_it(site):
    assert site.get("/docs/?q=LISTzones").location == "/docs/commands/listZones"


@pytest.mark.parametrize("section", ["commands", "responses", "guides", "decisions"])
def test_sections_list_their_pages(site, section):
    response = site.get(f"/docs/{section}/")
    names = {name for name in docs_site.pages() if name.startswith(f"{section}/")}
    assert {f"/docs/{name}" for name in names} <= set(links(response).targets)
    assert f'<a href="/docs/{section}/" aria-current="true">' in response.text
    assert site.get(f"/docs/{section}").location == f"/docs/{section}/"


def test_headings_can_be_linked_to_and_are_listed(site):
    text = site.get("/docs/guides/shell").text
    assert '<h2 id="jobs">Jobs<a class="anchor" href="#jobs"' in text
    assert '<li><a href="#jobs">Jobs</a></li>' in text


def test_a_new_style_has_a_new_address(site, monkeypatch):
    (address,) = [one for one in links(site.get("/docs/")).targets if "style.css" in one]
    assert re.fullmatch(r"/docs/style\.css\?[0-9a-f]{8}", address)
    style = site.get(address)
    assert style.mimetype == "text/css"
    assert "url(" not in style.text
    assert "@import" not in style.text


def test_what_is_searched_is_shown_as_text(site):
    text = site.get("/docs/?q=%3Cscript%3E%22").text
    assert "<script>" not in text
    assert 'value="&lt;script&gt;&quot;"' in text


def test_a_page_shows_parameters_and_example(site):
    text = site.get("/docs/commands/listZones").text
    assert '<h1 id="listzones">listZones</h1>' in text
    assert '<td data-label="Name"><code>showcapacities</code></td>' in text
    assert "GET /client/api?command=listZones" in text


def test_old_suffixes_lead_on(site):
    assert site.get("/docs/commands/listZones.md").location == "/docs/commands/listZones"
    assert site.get("/docs").status_code == 308


@pytest.mark.parametrize(
    "name", ["../README", "commands/../../pyproject", "examples/zones.yaml", "%2e%2e/README.md", "x.md"]
)
def test_nothing_but_pages_can_be_read(site, name):
    assert site.get(f"/docs/{name}").status_code == 404


def test_data_is_served(site):
    assert site.get("/docs/openapi.json").json["openapi"] == "3.1.0"


def test_without_pages_it_says_so(site, monkeypatch):
    monkeypatch.setattr(docs_site, "PLACES", ())
    docs_site.folder.cache_clear()
    docs_site.pages.cache_clear()
    response = site.get("/docs/")
    assert (response.status_code, "not installed here" in response.text) == (404, True)
    docs_site.folder.cache_clear()
    docs_site.pages.cache_clear()
