"""Markdown and LaTeX, as far as a document of results needs them: text is escaped here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Markup:
    """How the parts of a document are written; all take plain text.

    Attributes
    ----------
    comment
        A line that readers of the document do not see.
    heading
        From its level, 1 to 3, and its text.
    paragraph
        From its text.
    table
        From the heads of its columns, its rows, and how many columns are text; numbers follow.
    numbered
        A list, counted from 1.
    verbatim
        Lines as they are.
    """

    comment: Callable[[str], str]
    heading: Callable[[int, str], str]
    paragraph: Callable[[str], str]
    table: Callable[[Sequence[str], Sequence[Sequence[str]], int], str]
    numbered: Callable[[Sequence[str]], str]
    verbatim: Callable[[str], str]


#: Signs that mean something to Markdown or to the HTML in it.
_OF_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _OF_MARKDOWN.sub(r"\\\1", _one_line(text))


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    lines = [heads, ["---"] * texts + ["---:"] * (len(heads) - texts)]
    written = ["| " + " | ".join(cells) + " |" for cells in lines]
    written += ["| " + " | ".join(map(markdown, cells)) + " |" for cells in rows]
    return "\n".join(written) + "\n"


MARKDOWN = Markup(
    comment=lambda text: f"<!-- {re.sub('-{2,}|[<>]', ' ', _one_line(text))} -->\n",
    heading=lambda level, text: f"{'#' * level} {markdown(text)}\n",
    paragraph=lambda text: f"{markdown(text)}\n",
    table=_markdown_table,
    numbered=lambda items: "".join(f"{i}. {markdown(item)}\n" for i, item in enumerate(items, 1)),
    verbatim=lambda text: f"```text\n{text}\n```\n",
)


#: What LaTeX needs for signs that are its own, and for those of the field.
_IN_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}",  # where LaTeX looks for an optional argument
    "Å": r"\AA{}", "å": r"\aa{}", "ø": r"\o{}", "Ø": r"\O{}", "ß": r"\ss{}", "ı": r"\i{}",
    "Δ": r"$\Delta$", "δ": r"$\delta$", "ν": r"$\nu$", "ω": r"$\omega$", "‡": r"$\ddagger$",
    "−": "$-$", "–": "--", "—": "---", "⁻": r"$^{-}$", "¹": r"$^{1}$", "²": r"$^{2}$",
    "³": r"$^{3}$", "½": r"$^{1/2}$", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\to$",
    "≥": r"$\geq$", "≤": r"$\leq$", "°": r"$^{\circ}$", "’": "'", "‘": "`", "“": "``", "”": "''",
    "…": r"\ldots{}", "‖": r"$\|$",
}  # fmt: skip

#: Accents by their combining sign.
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"'}


def latex(text: str) -> str:
    """Text that LaTeX prints as it is; signs that it may not have stay, so that it names them."""
    return "".join(map(_sign, _one_line(text))).replace("cm$^{-}$$^{1}$", "cm$^{-1}$")


def _sign(sign: str) -> str:
    if sign in _IN_LATEX:
        return _IN_LATEX[sign]
    base, *marks = [*unicodedata.normalize("NFD", sign)]
    if not (base.isascii() and all(mark in _ACCENTS for mark in marks)):
        return sign
    for mark in marks:
        base = f"\\{_ACCENTS[mark]}{{{base}}}"
    return base


def _latex_heading(level: int, text: str) -> str:
    return f"\\{'sub' * (level - 1)}section*{{{latex(text)}}}\n"


def _latex_table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """One that may be longer than a page needs a package: so pieces of forty rows."""
    pieces = [rows[i : i + 40] for i in range(0, len(rows), 40)]
    columns = "l" * texts + "r" * (len(heads) - texts)
    return "\n".join(
        "\n".join(
            [
                f"\\noindent\\begin{{tabular}}{{{columns}}}",
                "\\hline",
                " & ".join(map(latex, heads)) + r" \\",
                "\\hline",
                *(" & ".join(map(latex, cells)) + r" \\" for cells in piece),
                "\\hline",
                "\\end{tabular}\n",
            ]
        )
        for piece in pieces
    )


def _one_line(text: str) -> str:
    """Without line breaks and other signs that cannot be seen."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


LATEX = Markup(
    comment=lambda text: (
        f"% {_one_line(text)}\n% Paste it into a document, or \\input it. It needs no packages.\n"
    ),
    heading=_latex_heading,
    paragraph=lambda text: f"{latex(text)}\n",
    table=_latex_table,
    numbered=lambda items: (
        "\\begin{enumerate}\n"
        + "".join(f"\\item {latex(item)}\n" for item in items)
        + "\\end{enumerate}\n"
    ),
    verbatim=lambda text: f"\\begin{{verbatim}}\n{text}\n\\end{{verbatim}}\n",
)
