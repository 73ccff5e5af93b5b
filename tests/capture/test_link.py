"""The wall: every message comes over whole, and nothing but messages comes over."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.capture.link import (
    LENGTHS,
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    AskClip,
    AskPicture,
    Beat,
    ClipFailed,
    ClipTaken,
    CloseCamera,
    HealthReport,
    Link,
    LookTaken,
    OpenCamera,
    PictureFailed,
    PictureTaken,
    decode,
    encode,
    lengths,
)
from edgevlm.capture.spec import CameraSpec, FileSpec, ImageSpec, RtspSpec, UsbSpec
from edgevlm.errors import LinkError
from edgevlm.records import CameraHealth, CameraState, Clip, ClipShot, Instant, Look, Picture

numbers = st.integers(0, 2**62)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
figures = st.none() | st.floats(0, 1e9)
instants = st.builds(Instant, numbers, st.integers(-(2**62), 2**62), numbers, numbers)
corners = st.tuples(st.floats(0, 1), st.floats(0, 1))
masks = st.lists(st.lists(corners, min_size=3, max_size=5).map(tuple), max_size=3).map(tuple)
sources = st.one_of(
    st.builds(RtspSpec, texts, texts | st.none(), texts | st.none(), st.sampled_from(["tcp", "udp"])),
    st.builds(UsbSpec, texts, numbers | st.none(), numbers | st.none(), figures),
    st.builds(FileSpec, texts, st.booleans()),
    st.builds(ImageSpec, texts, st.floats(0.05, 100), st.booleans()),
)
specs = st.builds(CameraSpec, texts, sources, masks, numbers, numbers, st.floats(0, 100), numbers)


@st.composite
def looks(draw: st.DrawFn) -> Look:
    width, height = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    luma = draw(st.binary(min_size=width * height, max_size=width * height))
    return Look(draw(texts), draw(instants), draw(st.booleans()), width, height, luma)


pictures = st.builds(
    Picture, texts, instants, st.integers(1, 9999), st.integers(1, 9999), st.binary().map(b"\xff\xd8".__add__)
)
clip_shots = st.builds(
    ClipShot,
    st.floats(0, 60),
    st.floats(0, 60),
    figures,
    numbers | st.none(),
    st.none() | st.tuples(*[st.floats(0, 1)] * 4),
    numbers,
    st.booleans(),
)
sizes = st.integers(1, 9999)
clips = st.builds(
    Clip,
    texts,
    numbers,
    numbers,
    sizes,
    sizes,
    sizes,
    texts,
    st.booleans(),
    st.binary().map(b"\0\0\0\x18ftyp".__add__),
)
healths = st.builds(
    CameraHealth, texts, st.sampled_from(CameraState), texts, texts | st.none(), fps=figures, packets=numbers
)
messages: st.SearchStrategy[Link] = st.one_of(
    st.builds(OpenCamera, specs, numbers),
    st.builds(CloseCamera, texts),
    st.builds(AskPicture, numbers, texts, numbers, instants | st.none()),
    st.builds(Beat, st.lists(texts, max_size=3).map(tuple)),
    st.builds(LookTaken, looks(), numbers),
    st.builds(PictureTaken, numbers, pictures),
    st.builds(PictureFailed, numbers, texts, texts),
    st.builds(AskClip, numbers, texts, clip_shots, numbers, numbers),
    st.builds(ClipTaken, numbers, clips),
    st.builds(ClipFailed, numbers, texts, texts),
    st.builds(HealthReport, healths),
)


def split(wire: bytes) -> tuple[bytes, bytes]:
    head_bytes, body_bytes = lengths(wire[: LENGTHS.size])
    assert len(wire) == LENGTHS.size + head_bytes + body_bytes
    return wire[LENGTHS.size :][:head_bytes], wire[LENGTHS.size + head_bytes :]


@given(messages)
def test_every_message_comes_over_as_it_was(message: Link) -> None:
    assert decode(*split(encode(message))) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_are_a_message_or_a_link_error(head: bytes, body: bytes) -> None:
    with pytest.raises(LinkError):
        decode(b"\x00" + head, body)
    with suppress(LinkError):
        decode(head, body)


@given(messages, st.data())
def test_a_message_with_one_wrong_field_is_a_message_or_a_link_error(
    message: Link, data: st.DataObject
) -> None:
    """Whatever is accepted has the declared types throughout, or it would not come out as it went in."""
    head, body = split(encode(message))
    fields = json.loads(head)
    place: Any = fields
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(json_values)
        break
    try:
        taken = decode(json.dumps(fields).encode(), body)
    except LinkError:
        return
    assert decode(*split(encode(taken))) == taken


HEALTH = asdict(CameraHealth("yard", CameraState.ONLINE))
LOOK = {
    "camera": "yard",
    "instant": asdict(Instant(1, 2, 3, 4)),
    "keyframe": True,
    "width": 2,
    "height": 2,
}


MP4 = b"\0\0\0\x18ftypisom"
CLIP = asdict(Clip("yard", 1, 2, 640, 360, 15, "h264", remuxed=True, mp4=b""))
del CLIP["mp4"]


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"type": "HealthReport", "health": HEALTH | {"fps": "many"}}, b""),
        ({"type": "HealthReport", "health": HEALTH | {"packets": 1e999}}, b""),
        ({"type": "HealthReport", "health": HEALTH | {"packets": 10**30}}, b""),
        ({"type": "HealthReport", "health": HEALTH | {"fps": float("nan")}}, b""),
        ({"type": "HealthReport", "health": HEALTH | {"camera": ["yard"]}}, b""),
        ({"type": "HealthReport", "health": HEALTH | {"state": "happy"}}, b""),
        ({"type": "HealthReport", "health": HEALTH | {"packets": True}}, b""),
        ({"type": "HealthReport", "health": HEALTH | {"detail": "x" * 20_000}}, b""),
        ({"type": "HealthReport", "health": HEALTH}, b"a body"),
        ({"type": "LookTaken", "superseded": 0, "look": LOOK}, b"123"),
        ({"type": "LookTaken", "superseded": 0, "look": LOOK | {"width": -2, "height": -2}}, b"1234"),
        ({"type": "LookTaken", "superseded": 0, "look": LOOK | {"width": 2.0}}, b"1234"),
        ({"type": "LookTaken", "superseded": None, "look": LOOK}, b"1234"),
        ({"type": "LookTaken", "superseded": 0, "look": LOOK | {"luma": "1234"}}, b"1234"),
        ({"type": "PictureTaken", "number": {}, "picture": {}}, b"\xff\xd8"),
        ({"type": "PictureFailed", "number": [1], "kind": "no_frame", "message": ""}, b""),
        ({"type": "ClipTaken", "number": 1, "clip": CLIP}, b"\0\0\0\x18moov"),
        ({"type": "ClipTaken", "number": 1, "clip": CLIP | {"frames": 0}}, MP4),
        ({"type": "ClipTaken", "number": "1", "clip": CLIP}, MP4),
        ({"type": "Beat", "stuck": "yard"}, b""),
        ({"type": "Beat", "stuck": [1]}, b""),
        ({"type": "Beat"}, b""),
        ({"type": ["Beat"], "stuck": []}, b""),
        ({"type": "Nonsense"}, b""),
        ({"stuck": []}, b""),
        ([], b""),
    ],
)
def test_what_does_not_fit_is_refused(fields: object, body: bytes) -> None:
    """Each of these would break something far behind the wall: a dictionary key, a sum, a topic."""
    with pytest.raises(LinkError):
        decode(json.dumps(fields).encode(), body)


def test_what_fits_is_taken() -> None:
    taken = decode(json.dumps({"type": "LookTaken", "superseded": 0, "look": LOOK}).encode(), b"1234")
    assert isinstance(taken, LookTaken)


def test_text_that_cannot_be_encoded_is_mended() -> None:
    """Half a surrogate pair in a detail would fail much later, where it is published."""
    head = json.dumps({"type": "HealthReport", "health": HEALTH | {"detail": "a\ud800b"}}).encode()
    taken = decode(head, b"")
    assert isinstance(taken, HealthReport)
    assert taken.health.detail == "a?b"


def test_deep_nesting_is_a_link_error() -> None:
    with pytest.raises(LinkError):
        decode(b"[" * 100_000, b"")


@pytest.mark.parametrize(("head", "body"), [(MAX_HEAD_BYTES + 1, 0), (0, MAX_BODY_BYTES + 1)])
def test_lengths_are_bounded(head: int, body: int) -> None:
    with pytest.raises(LinkError):
        lengths(LENGTHS.pack(head, body))
    assert lengths(LENGTHS.pack(MAX_HEAD_BYTES, MAX_BODY_BYTES)) == (MAX_HEAD_BYTES, MAX_BODY_BYTES)
