"""Whether bytes are a picture that browsers show, and how large it is: PNG, JPEG or GIF, read by their headers."""

from __future__ import annotations

import struct

PNG, GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
PNG_END = b"IEND\xaeB`\x82"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG that begin a frame (ITU T.81, table B.1)."""
SCAN = 0xDA


def size_of(image: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None for what is no such picture, or not a whole one."""
    if image.startswith(PNG):
        is_whole = image[12:16] == b"IHDR" and image.endswith(PNG_END)
        found = struct.unpack(">II", image[16:24]) if is_whole else (0, 0)
    elif image.startswith(GIF):
        found = struct.unpack("<HH", image[6:10]) if image.endswith(b";") and len(image) > len(PNG_END) else (0, 0)
    elif image.startswith(b"\xff\xd8\xff"):
        found = _of_jpeg(image) if image.endswith(b"\xff\xd9") else (0, 0)
    else:
        return None
    return (found[0], found[1]) if all(found) else None


def _of_jpeg(image: bytes) -> tuple[int, int]:
    """From the first frame; each segment before it tells its length."""
    place = 2
    while place + 9 <= len(image) and image[place] == 0xFF:  # noqa: PLR2004 - every marker begins so
        marker = image[place + 1]
        if marker in FRAMES:
            height, width = struct.unpack(">HH", image[place + 5 : place + 9])
            return width, height
        if marker == SCAN:
            break
        place += 2 + int(struct.unpack(">H", image[place + 2 : place + 4])[0])
    return 0, 0
