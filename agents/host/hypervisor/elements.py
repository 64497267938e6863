"""lxml's element maker with types, which its stubs do not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from lxml import etree
from lxml.builder import ElementMaker  # type: ignore[import-not-found]  # the stubs leave this module out


class Maker(Protocol):
    """Gives for every tag the function that makes its element from children, text and attributes."""

    def __getattr__(self, tag: str) -> Callable[..., etree._Element]: ...


E = cast("Maker", ElementMaker())


def maker(namespace: str, prefix: str) -> Maker:
    """A maker of elements in `namespace`."""
    return cast("Maker", ElementMaker(namespace=namespace, nsmap={prefix: namespace}))
