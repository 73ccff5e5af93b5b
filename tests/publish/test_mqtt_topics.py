"""Topic names: built safely, and closed to those who would speak in our name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.publish.mqtt_topics import Topics

TOPICS = Topics("site/edge", "gateway-7")


def test_names() -> None:
    assert TOPICS.status == "site/edge/gateway-7/status"
    assert TOPICS.commands == "site/edge/gateway-7/cmd/#"
    assert TOPICS.of_rule("dock", "plate", "state") == "site/edge/gateway-7/dock/plate/state"


@given(st.text(max_size=200))
def test_no_path_leaves_its_place_or_is_a_wildcard(path: str) -> None:
    try:
        topic = TOPICS.below(path)
    except ValueError:
        return
    assert topic.startswith("site/edge/gateway-7/")
    assert not set("+#$\x00 \n") & set(topic)
    assert "" not in topic.split("/")


def test_commands_are_told_from_other_topics() -> None:
    assert TOPICS.command_path("site/edge/gateway-7/cmd/dock/enable") == "dock/enable"
    assert TOPICS.command_path("site/edge/gateway-77/cmd/dock/enable") is None
    assert TOPICS.command_path("site/edge/gateway-7/command") is None


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("panel/answers", True),
        ("site/edge/other-box/answers", True),
        ("site/edge/gateway-7/dock/plate/result", False),
        ("site/edge/gateway-7", False),
        ("$SYS/broker", False),
        ("panel/#", False),
        ("panel/+", False),
        ("", False),
        ("x" * 1025, False),
    ],
)
def test_where_a_sender_may_have_its_answer(topic: str, *, allowed: bool) -> None:
    assert TOPICS.may_answer_on(topic) is allowed
