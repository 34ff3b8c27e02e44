"""Errors as people read them."""

import pytest

from isdiff.errors import Missing, UserError, explained, summed_up


@pytest.mark.parametrize("make", [UserError, lambda text: Missing([text]), lambda text: OSError(2, "none", text)])
def test_texts_of_others_do_nothing_to_a_terminal(make):
    """Names of files, ids, what a file says: no colours, no cursor, no line more, and not a book."""
    told = explained(make("\x1b[2J\x1b]0;owned\x07 \r\x9b31m \u202etxt.exe \udcff \x00 é 写真 x" + "y" * 10**6))
    assert told.replace("\n", "").isprintable() and len(told) < 3000 and "\\x1b[2J" in told and "é 写真 x" in told
    assert "\\u202etxt" in told and str(UserError(told)) == told
    assert summed_up({"a\x1b[31m": "it is\rdamaged"}) == ["a\\x1b[31m: it is\\rdamaged"]


def test_failures_are_summed_up():
    failed = {f"im{i}": f"image /x/im{i}.png cannot be read" for i in range(1000)} | {"q": "its mask hides everything"}
    lines = summed_up(failed)
    assert lines == ["im0: image /x/im0.png cannot be read, and 999 more like it", "q: its mask hides everything"]
    assert len(summed_up({str(i): f"reason {i}{'x' * i}" for i in range(50)})) == 6
    assert len(summed_up({f"im{i}": "x" * i for i in range(50)}, 5)) == 6
