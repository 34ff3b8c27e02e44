"""For mkdocs: formulas become MathML when the pages are built, so that readers need no script from elsewhere."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_page_content(content: str, **_: object) -> str:
    """``$...$`` in a line and ``$$...$$`` on lines of their own."""

    def formula(match: re.Match) -> str:
        return convert(html.unescape(match[3]), display="block" if match[2] == "[" else "inline")

    return FORMULA.sub(formula, content)
