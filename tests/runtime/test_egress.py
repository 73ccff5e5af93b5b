"""The egress policy, and that every way out of the process asks it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edgevlm.runtime import egress, lookup
from edgevlm.runtime.addresses import network_of
from edgevlm.runtime.egress import EgressRefused, Policy, Refusal
from edgevlm.runtime.guarded_http import guarded_connector
from tests.servers.vlm import VlmServer

AIR_GAPPED = Policy.of("air-gapped", [network_of("2001:db8:1::/64")])
FAR, NEAR = "198.51.100.7", "127.0.0.1"


def address(text: str) -> Any:
    return ipaddress.ip_address(text)


@pytest.fixture
def refusals() -> Iterator[list[Refusal]]:
    """Hold this process to an air gap for one test; gives what is refused meanwhile."""
    heard: list[Refusal] = []
    egress.enforce(AIR_GAPPED, heard.append)
    yield heard
    egress.enforce(Policy())


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Answer for the system's resolver: name → addresses."""
    answers: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any, *args: Any, **options: Any) -> Any:
        if host not in answers or "flags" in options:
            return real(host, port, *args, **options)
        found = [(ipaddress.ip_address(text).version, text) for text in answers[host]]
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [(families[version], socket.SOCK_STREAM, 6, "", (text, 0)) for version, text in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


# --- the policy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connectivity", "host", "allowed"),
    [
        ("online", "8.8.8.8", True),
        ("online", "169.254.169.254", False),
        ("online", "fd00:ec2::254", False),
        ("offline", "8.8.8.8", True),
        ("offline", "::ffff:169.254.169.254", False),
        ("air-gapped", "8.8.8.8", False),
        ("air-gapped", "64:ff9b::8.8.8.8", False),
        ("air-gapped", "10.0.0.5", True),
        ("air-gapped", "127.0.0.1", True),
        ("air-gapped", "fe80::1", True),
    ],
)
def test_a_mode_says_where_one_may_connect_to(connectivity: Any, host: str, allowed: bool) -> None:
    assert (Policy.of(connectivity).objection(address(host)) is None) is allowed


def test_listed_networks_are_allowed_and_nothing_beside_them() -> None:
    assert AIR_GAPPED.objection(address("2001:db8:1::5")) is None
    assert AIR_GAPPED.objection(address("2001:db8:2::5")) is not None


def test_a_policy_can_be_narrowed_but_not_widened() -> None:
    assert Policy("lan").within("internet").limit == "lan"
    assert Policy("internet").within("none").objection(address("10.0.0.5")) is not None


def test_one_far_address_is_enough_to_refuse_a_name() -> None:
    why = AIR_GAPPED.objection_to_all([address("10.0.0.5"), address("8.8.8.8")])
    assert why is not None
    assert "8.8.8.8" in why
    assert "other addresses are near" in why
    assert AIR_GAPPED.objection_to_all([address("10.0.0.5"), address("fd00::5")]) is None


def test_cloud_names_are_refused_without_a_look_up() -> None:
    assert AIR_GAPPED.objection_to_name("api.openai.com") is not None
    assert Policy().objection_to_name("api.openai.com") is None
    assert Policy().objection_to_name("metadata.google.internal") is not None


# --- names ----------------------------------------------------------------------------------------------


@pytest.fixture
def system_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the name server and the hosts file."""

    def write(nameserver: str, hosts: str = "") -> None:
        (tmp_path / "resolv.conf").write_text(f"# made by a test\nnameserver {nameserver}\n")
        (tmp_path / "hosts").write_text(hosts)

    monkeypatch.setattr(egress, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr(egress, "HOSTS", tmp_path / "hosts")
    return write


def test_a_public_name_server_is_never_asked(
    system_files: Callable[..., None], refusals: list[Refusal]
) -> None:
    """A look-up is itself traffic to the internet; what stands in the hosts file needs none."""
    system_files("8.8.8.8", "10.0.0.7 camera.lan Camera  # by hand\nfd00::7 camera.lan\n")
    assert [str(found) for found in lookup.look_up("camera.lan", AIR_GAPPED)] == ["10.0.0.7", "fd00::7"]
    assert [str(found) for found in lookup.look_up("CAMERA.", AIR_GAPPED)] == ["10.0.0.7"]
    with pytest.raises(EgressRefused, match=r"name server 8\.8\.8\.8 is public"):
        lookup.look_up("broker.lan", AIR_GAPPED)
    with pytest.raises(EgressRefused):  # somebody else's code, held up by the audit hook
        socket.getaddrinfo("broker.lan", 80)
    assert {refusal.where for refusal in refusals} == {"broker.lan"}


def test_googles_name_server_may_be_asked_though_it_is_a_metadata_address(
    system_files: Callable[..., None],
) -> None:
    system_files("169.254.169.254")
    assert Policy().nameserver_objection() is None
    assert AIR_GAPPED.nameserver_objection() is None


def test_localhost_is_this_box_without_a_look_up(system_files: Callable[..., None]) -> None:
    system_files("8.8.8.8")
    assert {str(found) for found in lookup.look_up("a.localhost", AIR_GAPPED)} == {"127.0.0.1", "::1"}


@pytest.mark.usefixtures("refusals")
def test_a_name_that_turns_public_is_refused_at_the_next_connection(
    resolver: dict[str, list[str]], system_files: Callable[..., None]
) -> None:
    system_files("10.0.0.1")
    resolver["vlm.lan"] = ["10.0.0.5"]
    assert lookup.permitted("vlm.lan", AIR_GAPPED)
    for answer in (["8.8.8.8"], ["10.0.0.5", "8.8.8.8"], ["::ffff:8.8.8.8"], ["169.254.169.254"]):
        resolver["vlm.lan"] = answer
        with pytest.raises(EgressRefused):
            lookup.permitted("vlm.lan", AIR_GAPPED)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the system's resolver hang, as it does when its server is away, until the test is over."""
    answer, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(*args: Any, **options: Any) -> Any:
        if "flags" in options:  # numbers are read without asking anybody
            return real(*args, **options)
        answer.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    answer.set()


@pytest.mark.usefixtures("hanging")
async def test_a_hanging_resolver_holds_up_nobody() -> None:
    names = [f"h{number}.lan" for number in range(50)]
    found = await asyncio.to_thread(lookup.look_up_all, [*names, "10.0.0.5"], Policy(), timeout_secs=0.2)
    assert len(found) == 51
    assert "did not answer within 0.2 s" in found["h0.lan"].why
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await lookup.permitted_soon("vlm.lan", Policy())


@pytest.mark.usefixtures("hanging")
async def test_those_who_come_when_too_many_hang_are_told_at_once() -> None:
    waiting = [
        asyncio.ensure_future(lookup.permitted_soon(f"h{number}.lan", Policy()))
        for number in range(lookup.MAX_AT_ONCE)
    ]
    await asyncio.wait(waiting, timeout=0.05)
    with pytest.raises(lookup.NotFound, match="too many"):
        await lookup.permitted_soon("one-more.lan", Policy())
    for future in waiting:
        future.cancel()


@pytest.mark.parametrize("garbage", [[], [(2, 1, 6, "", ("not an address", 0))], UnicodeError("bad")])
def test_a_resolver_that_answers_garbage_gives_no_address(
    garbage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getaddrinfo(host: str, *_: Any, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror
        if isinstance(garbage, Exception):
            raise garbage
        return garbage

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(lookup.NotFound):
        lookup.permitted("vlm.lan", Policy())


# --- every way out --------------------------------------------------------------------------------------


def connect(target: Any) -> None:
    with socket.socket() as connection:
        connection.settimeout(1)
        connection.connect(target)


def connect_by_name(target: str) -> None:
    socket.create_connection((target, 9), timeout=1)


def send(target: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"x", (target, 9))


def send_message(target: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.sendmsg([b"x"], [], 0, (target, 9))


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: connect((FAR, 9)),
        lambda: connect(("3325256711", 9)),  # the same, as one number
        lambda: connect_by_name(FAR),
        lambda: connect_by_name("api.openai.com"),
        lambda: send(FAR),
        lambda: send_message(FAR),
        lambda: connect(("169.254.169.254", 80)),
        lambda: socket.gethostbyname("api.openai.com"),
        lambda: socket.getaddrinfo(b"api.openai.com", 443),
    ],
)
def test_no_python_code_gets_out(attempt: Callable[[], Any], refusals: list[Refusal]) -> None:
    with pytest.raises(EgressRefused):
        attempt()
    assert len(refusals) == 1


def test_a_connection_to_a_name_is_refused_for_it_may_change(
    refusals: list[Refusal],
) -> None:
    """C code looks it up by itself, before the hook is asked, and nobody sees what it found."""
    hook = egress._audit
    with socket.socket() as connection:
        hook("socket.connect", (connection, ("localhost", 80)))
        with pytest.raises(EgressRefused):
            hook("socket.connect", (connection, ("vlm.lan", 80)))
    assert [refusal.where for refusal in refusals] == ["vlm.lan"]


@pytest.mark.usefixtures("refusals")
def test_this_box_and_other_families_stay_open(tmp_path: Path) -> None:
    with socket.create_server((NEAR, 0)) as server:
        connect((NEAR, server.getsockname()[1]))
        connect(("2130706433", server.getsockname()[1]))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as connection:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        connection.connect(str(tmp_path / "socket"))


async def test_asyncio_does_not_get_out(refusals: list[Refusal]) -> None:
    with pytest.raises(EgressRefused):
        await asyncio.open_connection(FAR, 9)
    assert refusals


async def fetch(url: str, policy: Policy) -> int:
    async with (
        aiohttp.ClientSession(connector=guarded_connector(policy)) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        return response.status


async def test_aiohttp_asks_before_each_connection(
    vlm: VlmServer, resolver: dict[str, list[str]], system_files: Callable[..., None]
) -> None:
    """Without the audit hook: the connector itself asks, by name and by address."""
    system_files("10.0.0.1")
    resolver["vlm.lan"] = [NEAR]
    assert await fetch(f"http://vlm.lan:{vlm.port}/", AIR_GAPPED) in {400, 404, 405}
    vlm.violations.clear()
    resolver["vlm.lan"] = [FAR]
    for url in (f"http://{FAR}/", "http://vlm.lan/", "http://[64:ff9b::808:808]/"):
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await fetch(url, AIR_GAPPED)
        assert isinstance(caught.value.os_error, EgressRefused)


def test_a_component_may_be_held_closer_than_the_process() -> None:
    egress.enforce(Policy(), limits={"model:local": "lan"})
    try:
        assert egress.current("model:local").objection(address(FAR)) is not None
        assert egress.current("model:other").objection(address(FAR)) is None
    finally:
        egress.enforce(Policy())
    assert egress.current("model:local").objection(address(FAR)) is None


def test_a_capture_host_connects_to_nothing() -> None:
    """Python code in it has no business with the network at all, not even with the site's."""
    code = (
        "import socket, sys\n"
        "from unittest import mock\n"
        "from edgevlm.capture import host\n"
        "with mock.patch.object(host, '_die_with'), mock.patch.object(host, 'CaptureHost'),"
        " mock.patch('os._exit'):\n"
        "    ours, theirs = socket.socketpair()\n"
        "    host.main(theirs.detach(), 0)\n"
        "try:\n"
        "    socket.create_connection(('10.0.0.1', 9), timeout=1)\n"
        "except PermissionError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert "nothing may leave this box" in ran.stdout


def test_the_hook_survives_strange_arguments() -> None:
    egress.enforce(AIR_GAPPED)
    try:
        with contextlib.suppress(OSError, TypeError), socket.socket() as connection:
            connection.connect(("", 1))
        with pytest.raises(TypeError), socket.socket() as connection:
            connection.connect(("10.0.0.1",))
    finally:
        egress.enforce(Policy())
