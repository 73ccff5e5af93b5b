"""A lane against a list: each message is handed out once, in order, however reading and delivering mix."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from edgevlm.publish.lane import Lane
from edgevlm.publish.spool_row import Spooled
from tests.publish.answers import message

LIMIT = 4
MESSAGE = message(1)


class LaneMachine(RuleBasedStateMachine):
    """The rows of one camera, read by one lane."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = Lane("dock")
        self.rows: list[int] = []
        self.next_seq = 1
        self.page: tuple[list[Spooled], bool] | None = None
        self.handed_out: list[int] = []

    @rule()
    def accept(self) -> None:
        self.rows.append(self.next_seq)
        self.lane.put(Spooled(MESSAGE, self.next_seq), LIMIT)
        self.next_seq += 1

    @precondition(lambda self: self.lane.is_hungry(LIMIT))
    @rule()
    def begin_reading(self) -> None:
        self.lane.begin_reading()

    @precondition(lambda self: self.lane.reading and self.page is None)
    @rule()
    def read(self) -> None:
        found = [seq for seq in self.rows if seq > self.lane.read_up_to][:LIMIT]
        self.page = [Spooled(MESSAGE, seq) for seq in found], len(found) == LIMIT

    @precondition(lambda self: self.page is not None)
    @rule()
    def take_page(self) -> None:
        assert self.page is not None
        self.lane.take_page(self.page[0], more=self.page[1])
        self.lane.reading, self.page = False, None

    @precondition(lambda self: not self.lane.busy and self.lane.head() is not None)
    @rule()
    def begin_delivering(self) -> None:
        self.lane.busy = True

    @precondition(lambda self: self.lane.busy)
    @rule()
    def deliver(self) -> None:
        head = self.lane.head()
        assert head is not None
        assert head.seq is not None
        self.lane.end(head)
        self.lane.busy = False
        self.rows.remove(head.seq)
        self.handed_out.append(head.seq)
        assert self.handed_out == sorted(set(self.handed_out)), "twice, or out of order"

    @precondition(lambda self: self.lane.busy)
    @rule()
    def fail(self) -> None:
        self.lane.busy = False

    @rule()
    def begin_again(self) -> None:
        self.lane.begin_again()

    @precondition(lambda self: self.page is None and len(self.rows) > 1)
    @rule()
    def drop_the_oldest(self) -> None:
        head = self.lane.head() if self.lane.busy else None
        oldest = next(seq for seq in self.rows if head is None or seq != head.seq)
        self.rows.remove(oldest)
        self.lane.forget({oldest})

    def teardown(self) -> None:
        for _ in range(10 * self.next_seq + 20):
            if self.page is not None:
                self.take_page()
            elif self.lane.reading:
                self.read()
            elif self.lane.is_hungry(LIMIT):
                self.begin_reading()
            elif self.lane.busy:
                self.deliver()
            elif self.lane.head() is not None:
                self.begin_delivering()
        assert self.rows == [], "left behind in the spool"


TestLaneMachine = LaneMachine.TestCase
TestLaneMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_of_what_memory_alone_holds_the_oldest_goes_first_but_never_what_is_under_way() -> None:
    lane = Lane("dock")
    for seq in (None, 7, None):
        lane.put(Spooled(MESSAGE, seq), LIMIT)
    lane.busy = True
    first = lane.head()
    assert lane.drop_oldest_in_memory()
    assert not lane.drop_oldest_in_memory()
    assert (lane.head(), len(lane.queue)) == (first, 2)


def test_what_was_not_stored_is_not_held_up_by_a_backlog_in_the_spool() -> None:
    lane = Lane("dock", behind=True)
    lane.put(Spooled(MESSAGE, None), LIMIT)
    assert lane.head() is not None


def test_what_ends_while_the_lane_is_read_anew_does_not_come_back() -> None:
    lane = Lane("dock")
    lane.put(Spooled(MESSAGE, 7), LIMIT)
    lane.busy = True
    lane.begin_again()
    lane.begin_reading()
    page = [Spooled(MESSAGE, 7), Spooled(MESSAGE, 8)]
    head = lane.head()
    assert head is not None
    lane.end(head)
    lane.busy = False
    lane.take_page(page, more=False)
    assert [spooled.seq for spooled in lane.queue] == [8]
