"""Components: what their arguments take is said by types."""

import copy
from dataclasses import dataclass
from typing import Annotated

import pytest

from isdiff.checks import BadValue, Share, Whole, one_of
from isdiff.component import Component


@dataclass(eq=False)
class Mixed(Component):
    share: Share
    kind: Annotated[str, one_of("a", "b")] = "a"
    count_: Whole | None = None


@pytest.mark.parametrize(
    "given, message",
    [
        ({"share": 1.5}, "share is 1.5; it must be a number between 0 and 1"),
        ({"share": None}, "share is None; it must be a number between 0 and 1"),
        ({"share": 1, "kind": "c"}, "kind is 'c'; it must be one of a, b"),
        ({"share": 1, "count_": 0}, "count is 0; it must be a whole number of at least 1"),
    ],
)
def test_arguments_are_what_their_types_say(given, message):
    with pytest.raises(BadValue, match=message):
        Mixed(**given)


def test_a_copy_remembers_its_arguments():
    made = copy.deepcopy(Mixed(0.5, count_=3))
    assert made.arguments == {"share": 0.5, "kind": "a", "count_": 3} and made.share == 0.5
    assert Mixed(0.0).fingerprint() == {
        "class": f"{__name__.partition('.')[0]}:Mixed",
        "share": 0,
        "kind": "a",
        "count_": None,
    }
