"""Which request is next: a state machine against a plain list, and the rules one by one."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edgevlm.infer.waiting import Waiting
from edgevlm.records import Priority, Request
from tests.infer.asked import request

RANK = {"alert": 0, "normal": 1, "low": 2}


def drained(waiting: Waiting) -> list[str]:
    names = []
    while (taken := waiting.take()) is not None:
        names.append(f"{taken.camera}/{taken.rule}")
    return names


def put(waiting: Waiting, *names: str, priority: Priority = "normal") -> None:
    for name in names:
        camera, rule_name = name.split("/")
        waiting.put(request(camera=camera, rule=rule_name, priority=priority))


def test_the_newest_request_of_a_rule_takes_the_place_of_the_older() -> None:
    waiting = Waiting()
    older, newer = request(), request()
    assert waiting.put(older) is None
    assert waiting.put(newer) is older
    assert waiting.take() is newer
    assert waiting.take() is None


def test_a_newer_request_stands_where_the_older_one_stood() -> None:
    waiting = Waiting()
    put(waiting, "a/1", "b/1", "a/1")
    assert drained(waiting) == ["a/1", "b/1"]


def test_a_question_by_command_does_not_give_way_to_the_clock() -> None:
    waiting = Waiting()
    assert waiting.put(request(command=True)) is None
    assert waiting.put(request()) is None
    assert len(waiting) == 2


def test_alerts_first_heartbeats_last() -> None:
    waiting = Waiting()
    put(waiting, "a/heartbeat", priority="low")
    put(waiting, "b/report")
    put(waiting, "c/door", priority="alert")
    assert drained(waiting) == ["c/door", "b/report", "a/heartbeat"]


def test_a_camera_with_many_rules_does_not_starve_the_one_beside_it() -> None:
    waiting = Waiting()
    put(waiting, "a/1", "a/2", "a/3", "a/4", "b/1", "c/1")
    assert drained(waiting) == ["a/1", "b/1", "c/1", "a/2", "a/3", "a/4"]
    put(waiting, "b/1", "a/1")
    assert drained(waiting) == ["b/1", "a/1"], "b waited longer for its turn"


class WaitingMachine(RuleBasedStateMachine):
    """Everything put in comes out once: taken in the right order, or handed back as superseded."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.model: list[Request] = []
        self.put_in = self.came_out = 0

    @rule(
        camera=st.sampled_from("ab"),
        name=st.sampled_from("123"),
        priority=st.sampled_from(["alert", "normal", "low"]),
        command=st.booleans(),
    )
    def put(self, camera: str, name: str, priority: Priority, command: bool) -> None:
        new = request(camera=camera, rule=name, priority=priority, command=command)
        older = self.waiting.put(new)
        same = [
            old
            for old in self.model
            if (old.camera, old.rule, old.trigger.type) == (camera, name, new.trigger.type)
        ]
        assert same == ([] if older is None else [older])
        self.model = [old for old in self.model if old is not older] + [new]
        self.put_in += 1
        self.came_out += older is not None

    @rule()
    def take(self) -> None:
        taken = self.waiting.take()
        if taken is None:
            assert not self.model
            return
        assert RANK[taken.priority] == min(RANK[old.priority] for old in self.model)
        self.model = [old for old in self.model if old is not taken]
        self.came_out += 1

    @rule()
    def clear(self) -> None:
        left = self.waiting.clear()
        assert {id(old) for old in left} == {id(old) for old in self.model}
        self.came_out += len(left)
        self.model = []

    @invariant()
    def nothing_vanishes(self) -> None:
        assert len(self.waiting) == len(self.model) == self.put_in - self.came_out
        assert len(self.waiting) <= 12


TestWaitingMachine = WaitingMachine.TestCase
