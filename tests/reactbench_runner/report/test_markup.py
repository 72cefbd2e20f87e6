"""Text in Markdown and LaTeX."""

from __future__ import annotations

import re

import pytest

from reactbench_runner.report.markup import LATEX, latex, markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("50% of $x & #1", r"50\% of \$x \& \#1"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("ωB97X, 5 cm⁻¹, Å", r"$\omega$B97X, 5 cm$^{-1}$, \AA{}"),
        ("Martínez, Gräfe, Henkelman Jónsson", r"Mart\'{i}nez, Gr\"{a}fe, Henkelman J\'{o}nsson"),
        ("ΔE‡ −9.4", r"$\Delta$E$\ddagger$ $-$9.4"),
        ("two\nlines\x07", "two lines "),
        ("反应", "反应"),
    ],
)
def test_latex(text: str, expected: str) -> None:
    assert latex(text) == expected


def test_markdown_is_shown_as_it_is() -> None:
    assert markdown("<script>*a*|_b_") == r"\<script\>\*a\*\|\_b\_"


def test_a_long_table_is_divided() -> None:
    text = LATEX.table(("a", "b", "c"), [("x_y", "z", str(i)) for i in range(90)], 2)
    assert text.count(r"\begin{tabular}{llr}") == text.count(r"\end{tabular}") == 3
    assert len(re.findall(r"^x\\_y & z & \d+ \\\\$", text, re.M)) == 90
