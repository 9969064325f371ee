"""The text of documents that is written between marks: XML of office documents, HTML, RTF.

A word processor cuts a name in two wherever a mark begins (``<w:t>Quill</w:t></w:r><w:r><w:t>feather</w:t>``), and
writes letters in its own way (``&#233;``, ``\\'e9``), so a search of the bytes alone misses it.
"""

from __future__ import annotations

import codecs
import html
import re

#: Marks that end a word; between all others a word goes on.
_BLOCKS = frozenset(
    re.findall(
        r"\S+",
        """
        p h h1 h2 h3 h4 h5 h6 br cr tab si c row tc tr td th li div s line-break table-cell table-row list-item
        title creator subject description keywords lastmodifiedby company manager category comment author
        initial-creator creation-date date text-box body header footer footnote endnote option value v
        """,
    )
)
_MARK = re.compile(r"<(?:!--.*?--|!\[CDATA\[(?P<cdata>.*?)\]\]|[?!][^>]*|/?(?P<name>[^\s<>/]+)[^<>]*)>", re.DOTALL)
#: Attributes that hold names: authors of comments and of changes.
_ATTRIBUTE = re.compile(r"""[\s:](?:author|initials|creator|name|title|descr|alt|userId)=("[^"<>]*"|'[^'<>]*')""", re.I)
_RTF = re.compile(
    r"\\'(?P<byte>[0-9a-fA-F]{2})|\\u(?P<unit>-?\d{1,6})(?:\\'[0-9a-fA-F]{2}|[ ?])?|\\(?P<word>[a-zA-Z]+)-?\d* ?"
    r"|\\(?P<sign>[^a-zA-Z])|[{}\r\n]"
)
_RTF_ENDS = frozenset({"par", "pard", "line", "tab", "cell", "row", "sect", "page", "nestcell", "nestrow", "column"})


def marked_text(data: bytes) -> str | None:
    """Return the text of the XML, HTML or RTF ``data`` without its marks; None where it is none of them."""
    head = data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").lower()
    if head.startswith(b"{\\rtf"):
        return _rtf_text(data.decode("latin-1"))
    head = head.replace(b"\0", b"")
    if head.startswith((b"<?xml", b"<!doctype html", b"<html")) or re.match(rb"<[a-z][\w.-]*:?[\w.-]*[\s/>]", head):
        return _xml_text(_decoded(data))
    return None


def _decoded(data: bytes) -> str:
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
        (b"<\0", "utf-16-le"),
        (b"\0<", "utf-16-be"),
    ):
        if data.startswith(mark):
            return data.decode(codec, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _xml_text(text: str) -> str:
    said: list[str] = []

    def instead(mark: re.Match[str]) -> str:
        if mark["cdata"] is not None:
            return mark["cdata"]
        said.extend(value[1:-1] for value in _ATTRIBUTE.findall(mark[0]))
        name = (mark["name"] or "").rpartition(":")[2].lower()
        return "\n" if name in _BLOCKS else ""

    written = _MARK.sub(instead, text)
    return html.unescape("\n".join((written, *said)))


def _rtf_text(text: str) -> str:
    def instead(mark: re.Match[str]) -> str:
        if mark["byte"]:
            return bytes.fromhex(mark["byte"]).decode("cp1252", "replace")
        if mark["unit"]:
            return chr(int(mark["unit"]) % 0x10000)
        if mark["word"]:
            return "\n" if mark["word"] in _RTF_ENDS else ""
        # an escaped sign stands for itself, but for the blank and the hyphen that do not part words
        sign = mark["sign"] or ""
        return {"~": " ", "_": "-", "-": "", "*": "", "\n": "\n", "\r": "\n"}.get(sign, sign)

    return _RTF.sub(instead, text)
