"""How a question is asked once more."""

from __future__ import annotations

import pytest

from edgevlm.errors import BadAnswer, EmptyAnswer
from edgevlm.infer.attempts import MAX_RAISED, repair
from tests.infer.drawn import prompt


def test_a_bad_answer_is_told_what_was_wrong() -> None:
    asked = repair(prompt(), BadAnswer("there is no JSON in it"))
    assert asked.user.startswith("What is it?\n\nYour last answer could not be used: there is no JSON in it.")
    assert asked.max_tokens == 64


@pytest.mark.parametrize(("tokens", "raised"), [(64, 256), (2000, MAX_RAISED), (9000, 9000)])
def test_an_empty_answer_gets_more_tokens_and_no_reproach(tokens: int, raised: int) -> None:
    asked = repair(prompt(max_tokens=tokens), EmptyAnswer("nothing"))
    assert (asked.user, asked.max_tokens) == ("What is it?", raised)
