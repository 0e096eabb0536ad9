"""Pieces of HTML: escaping, tables, facts, pictures as data URIs, and the page that holds them.

The page is one file without scripts that loads nothing: its policy forbids the browser to.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from mtcnn.report.style import STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, header: str, sections: Iterable[tuple[str, str, str]]) -> str:
    """The whole file; `sections` are (id, heading, body), bodies and `header` are HTML, the others plain text."""
    parts = [(escape(name), escape(heading), body) for name, heading, body in sections if body]
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in parts)
    bodies = "".join(
        f'<section id="{name}"><h2>{heading}</h2>{body}</section>\n' for name, heading, body in parts
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>{header}</header>\n<nav>{links}</nav>\n<main>\n{bodies}</main>\n</body>\n</html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    """A table of plain text that scrolls sideways where it is too wide; the first column names the row."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    text = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>{text}'


def pairs(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A heading and, below it, names with what they are; plain text, "" where there are no rows."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(what)}</td></tr>' for name, what in rows
    )
    return f'<div>{heading(title)}<table class="left">{body}</table></div>' if body else ""


def card(value: str, label: str, detail: str = "", lead: bool = False) -> str:
    """A figure with what it is below it; `lead` makes it the large one. Plain text."""
    kind = "card lead" if lead else "card"
    # A number and its sign stay on one line.
    value, label, detail = (escape(text).replace(" %", "&nbsp;%") for text in (value, label, detail))
    small = f"<small>{detail}</small>" if detail else ""
    return f'<div class="{kind}"><b>{value}</b><span>{label}</span>{small}</div>'


def cards(items: Iterable[str]) -> str:
    """A row of `card`s; nothing where there are none."""
    content = "".join(items)
    return f'<div class="cards">{content}</div>' if content else ""


def note(text: str) -> str:
    """A paragraph of quiet plain text."""
    return f'<p class="note">{escape(text)}</p>'


def heading(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def key(entries: Iterable[tuple[str, str]]) -> str:
    """What colours mean: (CSS class of the swatch, plain text)."""
    parts = "".join(f'<span><i class="{kind}"></i>{escape(text)}</span>' for kind, text in entries)
    return f'<p class="key">{parts}</p>'


def jpeg(data: bytes) -> str:
    """A JPEG as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
