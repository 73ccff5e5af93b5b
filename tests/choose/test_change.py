"""The `change` trigger's promises: what is asked about, once; what is not; and never too often."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevlm.choose.change import ChangeSettings, ChangeTrigger
from edgevlm.choose.scene import Scene
from tests.choose.watching import HEIGHT, WIDTH, Draw, Picture, Watch, look, person


def visit(start: float, end: float, *, level: float = 50, high: float = 60) -> Draw:
    """Somebody comes in from the left, stands, and leaves to the right."""

    def draw(picture: Picture, at: float) -> Picture:
        if not start <= at <= end:
            return picture
        x = np.interp(at, [start, start + 2, end - 2, end], [0, 150, 165, WIDTH])
        return person(picture, float(x), level=level, high=high)

    return draw


def test_first_once_then_heartbeats_only() -> None:
    watch = Watch()
    asked = watch.run(1900)
    assert [reason for _, reason in asked] == ["first", "heartbeat", "heartbeat", "heartbeat"]
    assert [round(at) for at, _ in asked] == [0, 600, 1200, 1800]


def test_no_heartbeat_when_it_is_off() -> None:
    assert len(Watch(ChangeSettings(heartbeat_secs=0)).run(1300)) == 1


@pytest.mark.parametrize("on_demand", [True, False])
@pytest.mark.parametrize(("noise", "level"), [(1.5, 50), (1.5, -45), (6.0, 40)])
def test_a_visit_is_asked_about_while_it_lasts(on_demand: bool, noise: float, level: float) -> None:
    watch = Watch(noise=noise, on_demand=on_demand)
    watch.run(30)
    asked = watch.run(60, visit(40, 52, level=level))
    assert asked[0][1] == "change"
    assert 40 <= watch.shown_secs()[1] <= 52
    assert len(asked) <= 2


def test_a_short_visit_between_keyframes_of_five_seconds_is_seen_by_looks_on_demand() -> None:
    watch = Watch(gop_secs=5.0)
    watch.run(30)
    watch.run(60, visit(38, 43.5))
    assert any(38 <= shown <= 43.5 for shown in watch.shown_secs())


def test_who_left_is_noticed_once_the_scene_is_calm() -> None:
    """The last asked picture shows somebody; nobody is there any more."""
    watch = Watch()
    watch.run(30)
    watch.run(120, visit(40, 60))
    assert watch.fired[-1][1].reason == "novelty"
    assert watch.shown_secs()[-1] > 60


def test_somebody_who_stands_still_is_not_asked_about_again_and_again() -> None:
    watch = Watch()
    watch.run(30)
    watch.run(400, lambda p, at: person(p, min(150.0, (at - 30) * 70)))
    assert 1 <= len(watch.fired) - 1 <= 3


def test_a_slow_change_is_not_lost() -> None:
    """A door that opens over minutes never differs from the look before."""
    watch = Watch()
    watch.run(60)

    def door(picture: Picture, at: float) -> Picture:
        picture[40:150, 120 : 120 + int(min(60, (at - 60) / 5))] = 40
        return picture

    asked = watch.run(500, door)
    assert asked
    assert all(reason in ("novelty", "change") for _, reason in asked)
    assert len(asked) <= 12


def test_what_comes_during_the_cool_down_is_asked_about_after_it() -> None:
    watch = Watch()
    watch.run(30)
    first, second = visit(40, 44), visit(46, 49.5, high=80, level=-45)
    watch.run(80, lambda picture, at: second(first(picture, at), at))
    (one_at, _), (two_at, two) = watch.fired[1], watch.fired[2]
    assert two_at - one_at >= 10
    assert 46 <= two.instants[0].pts_ns / 1e9 <= 49.5


def test_an_event_that_never_ends_is_asked_about_ever_more_rarely() -> None:
    watch = Watch(ChangeSettings(heartbeat_secs=0))
    watch.run(30)

    def pacing(picture: Picture, at: float) -> Picture:
        return person(picture, 160 + 120 * np.sin(at / 5))

    asked = [at for at, _ in watch.run(1200, pacing)]
    gaps = np.diff(asked)
    assert 3 <= len(asked) <= 20  # the cool-down would let 117 through
    assert gaps[-1] > 4 * gaps[0]


def test_the_asked_frame_shows_the_whole_thing() -> None:
    """The first look at somebody who comes in is cut by the border; one of the first second is not."""
    watch = Watch(ChangeSettings(cooldown_secs=0))
    watch.run(30)
    watch.run(44, lambda p, at: person(p, np.interp(at, [39.7, 41], [0, 120])) if at > 39.7 else p)
    shown = watch.shown_secs()[1]
    assert np.interp(shown, [39.7, 41], [0, 120]) > 14


def test_zones_bound_what_is_asked_about() -> None:
    right = ChangeSettings(zones=[[(0.6, 0), (1, 0), (1, 1), (0.6, 1)]])
    watch = Watch(right)
    watch.run(30)
    assert watch.run(60, lambda p, at: person(p, 60 + 10 * np.sin(at)) if at > 40 else p) == []
    assert watch.run(80, lambda p, at: person(p, 260 + 10 * np.sin(at)))[0][1] == "change"


def test_sensitivity_scales_what_is_noticed() -> None:
    def asked(sensitivity: float) -> int:
        watch = Watch(ChangeSettings(sensitivity=sensitivity, heartbeat_secs=0))
        watch.run(30)
        return len(watch.run(44, lambda p, at: person(p, 20 * (at - 30), high=11, level=35)))

    assert asked(0.1) == 0
    assert asked(2.0) >= 1


# --- what is no event ---------------------------------------------------------------------------------


def ramp(picture: Picture, at: float) -> Picture:
    return picture * (1 + 0.4 * min(1.0, max(0.0, (at - 40) / 5)))


def switch(picture: Picture, at: float) -> Picture:
    """A lamp at the right brightens its own corner most."""
    lamp = np.exp(-(((np.arange(WIDTH) - 260) / 160) ** 2))[None, :]
    return picture * (0.5 + 0.5 * lamp) if at > 40 else picture * 0.45


def cloud(picture: Picture, at: float) -> Picture:
    edge = (at - 40) * 30
    return picture * (1 - 0.35 / (1 + np.exp(np.clip((np.arange(WIDTH) - edge) / 22, -40, 40))))[None, :]


def rain(picture: Picture, at: float) -> Picture:
    rng = np.random.default_rng(int(at * 1000))
    for _ in range(25 if at > 40 else 0):
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT - 12))
        picture[y : y + 9, x] = 200
    return picture


def clock(picture: Picture, at: float) -> Picture:
    rng = np.random.default_rng(int(at))
    picture[4:12, 8:60] = 40
    for digit in (4, 5):
        strokes = np.repeat(rng.random((4, 3)) > 0.5, 2, 0).repeat(2, 1)
        picture[4:12, 8 + digit * 9 : 14 + digit * 9] = 40 + 200 * strokes
    return picture


def moth(picture: Picture, at: float) -> Picture:
    if at > 40 and int(at * 4) % 20 == 0:
        return person(picture, 40 + (at * 37) % 240, feet=60 + (at * 23) % 90, high=30, level=120)
    return picture


def shake(picture: Picture, at: float) -> Picture:
    if at < 40:
        return picture
    rng = np.random.default_rng(int(at * 1000))
    return np.roll(picture, (int(rng.integers(-2, 3)), int(rng.integers(-3, 4))), (0, 1))


def pulse(picture: Picture, at: float) -> Picture:
    """An encoder whose keyframes are a little coarser than what follows."""
    return np.round(picture / 6) * 6 if at % 2 == 0 else picture


@pytest.mark.parametrize("on_demand", [True, False])
@pytest.mark.parametrize(
    ("disturb", "most"),
    [(ramp, 0), (switch, 1), (cloud, 1), (rain, 1), (clock, 1), (shake, 1), (pulse, 0)],
)
def test_a_disturbance_costs_one_question_at_most(disturb: Draw, most: int, on_demand: bool) -> None:
    watch = Watch(on_demand=on_demand)
    watch.run(100, disturb)
    assert len(watch.fired) - 1 <= most


def test_what_is_gone_at_the_next_look_is_no_event() -> None:
    watch = Watch(gop_secs=0.5)
    watch.run(100, moth)
    assert len(watch.fired) - 1 <= 1


def test_a_turned_camera_is_one_question() -> None:
    watch = Watch()
    watch.run(40)
    other = Watch(seed=8).empty
    asked = watch.run(
        100, lambda p, at: np.hstack([p, other])[:, int(min(1, (at - 40) / 2) * WIDTH) :][:, :WIDTH]
    )
    assert [reason for _, reason in asked] == ["view_changed"]
    assert watch.shown_secs()[-1] >= 42


@pytest.mark.parametrize(
    ("condition", "spoil"),
    [
        ("black", lambda p: p * 0.03),
        ("covered", lambda p: p * 0.02 + 60),
        ("overexposed", lambda p: p * 0.1 + 250),
    ],
)
def test_a_worthless_picture_is_reported_and_not_asked_about(condition: str, spoil: Draw) -> None:
    watch = Watch(ChangeSettings(heartbeat_secs=60))
    watch.run(40)
    assert watch.run(140, lambda p, _: spoil(p)) == []  # type: ignore[call-arg]  # a one-argument lambda
    assert watch.steps[-1].condition == condition
    assert watch.steps[-1].withheld == condition
    after = watch.run(160)
    assert [reason for _, reason in after] == ["heartbeat"]


def test_a_frozen_camera_is_reported_and_a_still_picture_is_not() -> None:
    watch = Watch()
    watch.run(40)
    still = watch.empty.round()
    while watch.at_secs < 100:
        watch.at_secs += 2
        watch.show(still, grain=False)
    assert watch.steps[-1].condition == "frozen"
    picture = Watch(noise=0)
    picture.run(700)
    assert [fired.reason for _, fired in picture.fired] == ["first", "heartbeat"]


def test_a_picture_with_a_grey_hole_is_torn() -> None:
    watch = Watch(on_demand=False)
    watch.run(40)
    hole = watch.empty.copy()
    hole[60:120] = 128
    noisy = hole + np.random.default_rng(1).normal(0, 1.5, hole.shape)
    noisy[60:120] = 128
    step = watch.show(noisy, grain=False)
    assert step is not None
    assert step.condition == "torn"


def test_a_view_with_much_even_grey_is_soon_no_longer_called_torn() -> None:
    """A camera that was turned to a grey wall must not stay unasked for ever."""
    watch = Watch(noise=0, on_demand=False)
    watch.run(40)
    wall = watch.empty.copy()
    wall[60:140] = 128
    watch.run(120, lambda _, at: wall + (at % 4 < 2) * (np.arange(WIDTH) < 2))
    assert watch.steps[-1].condition == "ok"
    assert watch.fired[-1][0] > 40


def test_a_plain_view_is_not_called_covered() -> None:
    """From a view full of contrast to an empty yard: little contrast, but detail."""
    watch = Watch()
    watch.run(60)
    yard = 110 + 4.0 * (np.indices((HEIGHT, WIDTH)).sum(0) // 9 % 2)
    watch.run(90, lambda _, __: yard)
    assert {step.condition for step in watch.steps} == {"ok"}


def test_a_cover_that_stays_is_taken_for_the_view_after_a_while() -> None:
    watch = Watch(on_demand=False)
    watch.run(60)
    watch.run(1400, lambda picture, _: picture * 0.02 + 60)
    assert watch.steps[300].condition == "covered"
    assert watch.steps[-1].condition == "ok"


# --- time ---------------------------------------------------------------------------------------------


def test_a_suspended_machine_costs_one_question() -> None:
    watch = Watch()
    watch.run(40)
    watch.mono_offset_secs += 8 * 3600
    asked = watch.run(100, lambda p, _: 0.7 * np.fliplr(p))
    assert len(asked) <= 1


def test_a_look_that_is_not_newer_changes_nothing() -> None:
    watch = Watch()
    watch.run(10)
    watch.at_secs = 4.0
    assert watch.show(watch.empty * 0) is None


def test_a_new_size_forgets_what_waited() -> None:
    """What was photographed at the old size cannot be compared any more."""
    watch = Watch()
    watch.run(30)
    first, second = visit(40, 44), visit(45, 47.5, high=80, level=-45)
    watch.run(48, lambda picture, at: second(first(picture, at), at))
    watch.empty = np.repeat(np.repeat(watch.empty, 2, 0), 2, 1)[:240, :320]
    watch.run(70)
    assert all(fired.instants[0].pts_ns / 1e9 > 47.5 for at, fired in watch.fired if at > 48)


def test_a_zone_without_area_asks_nothing_but_the_first() -> None:
    watch = Watch(ChangeSettings(zones=[[(0.5, 0.5), (0.5, 0.5), (0.5, 0.5)]]))
    watch.run(100, visit(40, 52))
    assert [fired.reason for _, fired in watch.fired] == ["first"]


def test_a_new_size_begins_anew_without_a_storm() -> None:
    watch = Watch()
    watch.run(40)
    watch.empty = np.repeat(np.repeat(watch.empty, 2, 0), 2, 1)[:240, :320]
    assert len(watch.run(100)) <= 1


@settings(max_examples=25, deadline=None)
@given(
    pictures=st.lists(
        st.tuples(st.integers(0, 6), st.floats(0.05, 90), st.booleans()), min_size=2, max_size=40
    ),
    cooldown=st.floats(0, 40),
)
def test_whatever_is_shown_questions_keep_their_distance(
    pictures: list[tuple[int, float, bool]], cooldown: float
) -> None:
    """Random cuts between random views at random times: no crash, no storm, no unbounded state."""
    trigger, scene = ChangeTrigger(ChangeSettings(cooldown_secs=cooldown)), Scene()
    views = [np.random.default_rng(n).integers(0, 256, (24, 40), dtype=np.uint8) for n in range(7)]
    at, asked, instants = 1.0, [], []
    for number, gap, tall in pictures:
        at += gap
        shown = views[number].T.copy() if tall else views[number]
        found = scene.observe(look(shown, at))
        assert found is not None
        step = trigger.see(found)
        assert len(step.fired) <= 1
        assert len(step.keep) <= 3
        asked += [at] * len(step.fired)
        instants += [fired.instants[0].pts_ns / 1e9 for fired in step.fired]
        assert all(shown_at <= at + 1e-6 for shown_at in instants)
    assert all(later - earlier >= cooldown - 1e-6 for earlier, later in pairwise(asked))
