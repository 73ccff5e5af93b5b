"""What works at which connectivity: verdicts of components, rules and cameras, from configured addresses."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgevlm.commands import egress as egress_command
from edgevlm.commands.check import check
from edgevlm.config.compatibility import Compatibility, Component, RuleVerdict, judge
from edgevlm.runtime.addresses import numeric_address
from edgevlm.runtime.egress import Connectivity, Policy
from edgevlm.runtime.lookup import Found
from tests.config.conftest import LoadText, Mistakes

NAMES = {
    "vlm.lan": ["10.0.0.5"],
    "far.example": ["203.0.113.7"],
    "both.example": ["10.0.0.5", "203.0.113.7"],
    "dual.lan": ["10.0.0.5", "fd00::5"],
    "gua.lan": ["2001:db8:1::5"],
    "bind.lan": ["127.0.0.1"],
    "meta.lan": ["169.254.169.254"],
}


def look_up(hosts: Iterable[str], _: Policy) -> Mapping[str, Found]:
    """Answer as a resolver that knows NAMES and reads numbers."""
    found = {}
    for host in hosts:
        number = numeric_address(host.strip("[]"))
        addresses = [number] if number else [ipaddress.ip_address(text) for text in NAMES.get(host, [])]
        found[host] = Found(tuple(addresses), "" if addresses else "name or service not known")
    return found


def configuration(**sections: Any) -> dict[str, Any]:
    rule = {"trigger": {"type": "command"}, "task": {"type": "caption"}}
    return {
        "models": {"m": {"type": "openai-compatible", "base_url": "http://10.0.0.5/v1", "model": "q"}},
        "sinks": {"s": {"type": "stdout"}},
        "cameras": {"yard": {"source": {"type": "usb", "device": "/dev/video0"}, "rules": {"r": rule}}},
        **sections,
    }


@pytest.fixture
def judged(load_text: LoadText) -> Any:
    """Return a function that judges a configuration."""

    def judged(
        config: Mapping[str, Any],
        connectivity: Connectivity = "online",
        environ: Mapping[str, str] | None = None,
    ) -> Compatibility:
        loaded = load_text(yaml.safe_dump(dict(config), sort_keys=False))
        return judge(loaded.config, connectivity=connectivity, look_up=look_up, environ=environ or {})

    return judged


def component(found: Compatibility, title: str) -> Component:
    return next(part for part in found.components if part.title == title)


def only_rule(found: Compatibility) -> RuleVerdict:
    (rule,) = found.rules
    return rule


def model(base_url: str, name: str = "q", **more: Any) -> dict[str, Any]:
    return {"m": {"type": "openai-compatible", "base_url": base_url, "model": name, **more}}


OK, NO, DOUBT = "ok", "incompatible", "unknown"
INTERNET = ((OK, None), (NO, "requires_internet"), (NO, "requires_internet"))
# base_url, needs, then verdict and code online, offline, air-gapped
MODELS = [
    ("http://127.0.0.1:8000/v1", "none", (OK, None), (OK, None), (OK, None)),
    ("http://localhost:11434/v1", "none", (OK, None), (OK, None), (OK, None)),
    ("http://LOCALHOST./v1", "none", (OK, None), (OK, None), (OK, None)),
    ("http://[::1]:8000/v1", "none", (OK, None), (OK, None), (OK, None)),
    ("http://bind.lan/v1", "none", (OK, None), (OK, None), (OK, None)),
    ("http://10.0.0.5:8000/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://vlm.lan/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://dual.lan/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://gpu.local/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://100.64.3.4/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://[fe80::1%25eth0]/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://167772165/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://0x0a000005/v1", "lan", (OK, None), (OK, None), (OK, None)),
    ("http://api.openai.com@10.0.0.5/v1", "lan", (OK, None), (OK, None), (OK, None)),
    (
        "http://10.0.0.5@far.example/v1",
        "internet",
        (OK, None),
        (NO, "requires_internet"),
        (NO, "requires_internet"),
    ),
    ("http://203.0.113.7/v1", "internet", *INTERNET),
    ("http://134744072/v1", "internet", *INTERNET),
    (
        "http://[::ffff:8.8.8.8]/v1",
        "internet",
        (OK, None),
        (NO, "requires_internet"),
        (NO, "requires_internet"),
    ),
    ("https://far.example/v1", "internet", *INTERNET),
    ("https://gua.lan/v1", "internet", *INTERNET),
    (
        "https://api.openai.com/v1",
        "internet",
        (OK, None),
        (NO, "requires_internet"),
        (NO, "requires_internet"),
    ),
    (
        "https://API.Moonshot.cn./v1",
        "internet",
        (OK, None),
        (NO, "requires_internet"),
        (NO, "requires_internet"),
    ),
    ("https://both.example/v1", "internet", (OK, None), (OK, "mixed_addresses"), (NO, "mixed_addresses")),
    ("https://nowhere.example/v1", "unknown", *[(DOUBT, "unresolved_host")] * 3),
    ("http://10.0.0.5.example/v1", "unknown", *[(DOUBT, "unresolved_host")] * 3),
    ("http://[::1/v1", "unknown", *[(DOUBT, "unresolved_host")] * 3),
    ("http://169.254.169.254/v1", "lan", *[(NO, "metadata_address")] * 3),
    ("http://meta.lan/v1", "lan", *[(NO, "metadata_address")] * 3),
    ("http://metadata.google.internal/v1", "lan", *[(NO, "metadata_address")] * 3),
]


@pytest.mark.parametrize(("base_url", "need", "online", "offline", "air_gapped"), MODELS)
def test_a_model_is_judged_by_its_address(
    judged: Any, base_url: str, need: str, online: Any, offline: Any, air_gapped: Any
) -> None:
    modes: dict[Connectivity, Any] = {"online": online, "offline": offline, "air-gapped": air_gapped}
    for mode, expected in modes.items():
        found = component(judged(configuration(models=model(base_url)), mode), "model:m")
        assert (found.needs, (found.verdict, found.code)) == (need, expected), mode
        assert found.severity == ("hard" if found.verdict == NO else "soft")


@pytest.mark.parametrize(
    ("sections", "title", "need"),
    [
        ({"sinks": {"s": {"type": "mqtt"}}}, "sink:s", "none"),
        ({"sinks": {"s": {"type": "mqtt", "host": "10.0.0.9"}}}, "sink:s", "lan"),
        ({"sinks": {"s": {"type": "mqtt", "host": "x.s1.eu.hivemq.cloud"}}}, "sink:s", "internet"),
        ({"sinks": {"s": {"type": "file"}}}, "sink:s", "none"),
        ({"models": {"m": {"type": "ollama", "model": "qwen3-vl:8b"}}}, "model:m", "none"),
        ({"models": {"m": {"type": "ollama", "model": "kimi-k2.6:cloud"}}}, "model:m", "internet"),
        ({"models": {"m": {"type": "ollama", "model": "qwen3-vl:235b-CLOUD"}}}, "model:m", "internet"),
        ({"models": model("http://127.0.0.1:11434/v1", "qwen3-vl:235b-cloud")}, "model:m", "internet"),
        ({"models": model("http://127.0.0.1:8000/v1", "org/cloud-detector")}, "model:m", "none"),
        ({"models": {"m": {"type": "moonshot", "api_key": "k"}}}, "model:m", "internet"),
        (
            {"models": {"m": {"type": "moonshot", "api_key": "k", "base_url": "http://10.0.0.9/v1"}}},
            "model:m",
            "lan",
        ),
        ({"models": {"m": {"type": "openrouter", "api_key": "k"}}}, "model:m", "internet"),
    ],
)
def test_a_type_says_nothing_an_address_does(judged: Any, sections: Any, title: str, need: str) -> None:
    assert component(judged(configuration(**sections)), title).needs == need


def test_a_frame_store_counts_with_its_model(judged: Any) -> None:
    store = {"type": "s3", "endpoint": "http://10.0.0.8:9000", "bucket": "frames"}
    keys = {"access_key": "a-key", "secret_key": "s-key"}
    far = {**store, **keys, "public_endpoint": "https://far.example"}
    dashscope = {"type": "dashscope", "base_url": "http://10.0.0.9/v1", "model": "q", "api_key": "k"}
    found = judged(configuration(models={"m": {**dashscope, "frame_url": far}}), "air-gapped")
    assert component(found, "model:m").verdict == OK
    assert component(found, "frame_url:m").code == "requires_internet"
    assert component(found, "frame_url:m").used_by == ("yard/r",)
    assert (only_rule(found).verdict, only_rule(found).code) == (NO, "requires_internet")


def test_who_receives_the_pictures_is_named(judged: Any) -> None:
    told = component(judged(configuration(models=model("https://api.moonshot.cn/v1"))), "model:m").message
    assert "Moonshot AI, China" in told
    told = component(judged(configuration(models=model("https://far.example/v1"))), "model:m").message
    assert "203.0.113.7 is public; who receives what is sent there is unknown" in told


def test_a_proxy_is_told_of_and_not_used(judged: Any) -> None:
    found = judged(configuration(), environ={"https_proxy": "http://203.0.113.1:3128"})
    part = component(found, "model:m")
    assert (part.verdict, part.code, part.severity) == (OK, "proxy_configured", "soft")
    assert component(found, "sink:s").code is None


def test_listed_networks_belong_to_the_site(judged: Any) -> None:
    site = {"lan_networks": ["2001:db8:1::/64", "203.0.113.7"]}
    for host in ("gua.lan", "far.example", "both.example"):
        part = component(
            judged(configuration(site=site, models=model(f"http://{host}/v1")), "air-gapped"), "model:m"
        )
        assert (part.needs, part.verdict) == ("lan", OK)


@pytest.mark.parametrize(
    ("entry", "told"),
    [("camera.lan", "not a name"), ("10.0.0.5/8", "10.0.0.0/8"), ("0.0.0.0/0", "half the internet")],
)
def test_what_is_no_network_is_a_mistake_at_its_place(mistakes: Mistakes, entry: str, told: str) -> None:
    (line,) = mistakes(f"site:\n  lan_networks: [10.0.0.0/8, {entry}]\n")
    assert line.startswith("2:30: site.lan_networks[1]: ")
    assert told in line


# --- rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "mode", "verdict", "code"),
    [
        ({}, "air-gapped", OK, None),
        ({"models": model("https://api.openai.com/v1")}, "online", OK, None),
        ({"models": model("https://api.openai.com/v1")}, "offline", NO, "requires_internet"),
        ({"models": model("https://api.openai.com/v1")}, "air-gapped", NO, "requires_internet"),
        ({"models": model("https://nowhere.example/v1")}, "air-gapped", DOUBT, "unresolved_host"),
        ({"sinks": {"s": {"type": "mqtt", "host": "far.example"}}}, "offline", NO, "requires_internet"),
        (
            {"sinks": {"s": {"type": "mqtt", "host": "far.example"}, "f": {"type": "file"}}},
            "air-gapped",
            OK,
            None,
        ),
    ],
)
def test_a_rule_needs_a_source_a_model_and_a_sink(
    judged: Any, sections: Any, mode: Connectivity, verdict: str, code: str | None
) -> None:
    rule = only_rule(judged(configuration(**sections), mode))
    assert (rule.verdict, rule.code) == (verdict, code)


def test_a_rule_is_left_with_the_sinks_that_work(judged: Any) -> None:
    sinks = {"far": {"type": "mqtt", "host": "far.example"}, "near": {"type": "file"}}
    assert only_rule(judged(configuration(sinks=sinks), "air-gapped")).sinks == ("near",)


def test_a_camera_on_the_internet_takes_its_rules_with_it(judged: Any) -> None:
    config = configuration()
    config["cameras"]["yard"]["source"] = {"type": "rtsp", "url": "rtsp://u:p@far.example/1"}
    found = judged(config, "air-gapped")
    assert only_rule(found).code == "requires_internet"
    assert component(found, "source:yard").address == "rtsp://far.example/1"
    assert found.frames_reach == {"yard": "none"}


# --- pixels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "leaves", "verdict", "reach"),
    [
        ("http://127.0.0.1/v1", "none", OK, "none"),
        ("http://10.0.0.5/v1", "none", NO, "none"),
        ("http://10.0.0.5/v1", "lan", OK, "lan"),
        ("http://far.example/v1", "lan", NO, "none"),
        ("http://far.example/v1", "internet", OK, "internet"),
        ("http://nowhere.example/v1", "internet", DOUBT, "internet"),
        ("http://nowhere.example/v1", "lan", DOUBT, "lan"),
    ],
)
def test_pixels_go_no_further_than_their_camera_says(
    judged: Any, base_url: str, leaves: str, verdict: str, reach: str
) -> None:
    config = configuration(models=model(base_url))
    config["cameras"]["yard"]["leaves"] = leaves
    found = judged(config)
    assert only_rule(found).verdict == verdict
    assert only_rule(found).code in {None, "frames_leave_site", "unresolved_host"}
    assert found.frames_reach == {"yard": reach}
    assert found.model_limits == ({} if verdict == NO else {"m": leaves})


def test_a_model_is_held_to_the_strictest_camera_that_asks_it(judged: Any) -> None:
    config = configuration()
    config["cameras"]["gate"] = {**config["cameras"]["yard"], "leaves": "lan"}
    assert judged(config).model_limits == {"m": "lan"}


# --- the embedded engine ----------------------------------------------------------------------------------


def test_missing_model_files_are_told_and_not_downloaded(
    judged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "rapidocr"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "ch_det_x.onnx").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "rapidocr", raising=False)
    config = configuration(models={"m": {"type": "embedded"}})
    config["cameras"]["yard"]["rules"]["r"]["task"] = {"type": "ocr"}
    part = component(judged(config), "model:m")
    assert (part.verdict, part.code, part.severity) == (NO, "missing_model_file", "hard")
    assert "cls, rec" in part.message


FIRST_START = """
import asyncio
from edgevlm.infer.config import EmbeddedConfig
from edgevlm.infer.embedded import EmbeddedBackend
async def main():
    backend = EmbeddedBackend("reader", EmbeddedConfig(type="embedded"))
    await backend.open()
    await backend.close()
asyncio.run(main())
print("done")
"""


def test_the_embedded_engine_starts_without_a_word_to_anybody(tmp_path: Path) -> None:
    """Its runtime reports to its maker from C code, so the kernel is asked, not Python.

    A socket is made, and never used: urllib3 tries in this way, when it is imported, whether there is IPv6.
    """
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    try:
        ran = subprocess.run(
            [*strace, sys.executable, "-c", FIRST_START],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except FileNotFoundError:
        assert "CI" not in os.environ, "strace is missing: apt-get install strace"
        pytest.skip("strace is not installed")
    if "not permitted" in ran.stderr:
        assert "CI" not in os.environ, ran.stderr
        pytest.skip(f"strace cannot trace here: {ran.stderr.strip()}")
    assert "done" in ran.stdout, ran.stderr
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line] == []


# --- the commands -------------------------------------------------------------------------------------------


def written(tmp_path: Path, config: Mapping[str, Any]) -> Path:
    path = tmp_path / "edgevlm.yaml"
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    return path


def test_check_exits_78_where_a_rule_is_left_with_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, configuration(models=model("https://api.openai.com/v1")))
    out, errors = StringIO(), StringIO()
    assert check(path, stream=out, errors=errors, environ={}) == 0
    assert check(path, connectivity="air-gapped", stream=out, errors=errors, environ={}) == 78
    assert (
        "rule yard/r cannot run air-gapped: requires_internet: no model is left: model:m: it goes to OpenAI"
        in (errors.getvalue())
    )
    out = StringIO()
    assert check(path, connectivity="offline", as_json=True, stream=out, errors=errors, environ={}) == 78
    document = json.loads(out.getvalue())
    assert (document["ok"], document["errors"]) == (False, [])
    assert document["rules"] == [{"rule": "yard/r", "verdict": NO, "code": "requires_internet", "model": "m"}]
    assert document["cameras"] == [{"camera": "yard", "frames_reach": "none"}]


def test_a_disabled_rule_keeps_nobody_from_starting(judged: Any) -> None:
    config = configuration(models=model("https://api.openai.com/v1"))
    config["cameras"]["yard"]["rules"]["r"]["enabled"] = False
    assert judged(config, "air-gapped").incompatible_rules() == ()


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that prints a wall; the name server is 10.0.0.1."""
    monkeypatch.setattr(egress_command, "nameservers", lambda: [ipaddress.ip_address("10.0.0.1")])

    def wall(form: Any, **options: Any) -> tuple[str, str]:
        sinks = {"near": {"type": "mqtt", "host": "fd00::9"}, "far": {"type": "mqtt", "host": "203.0.113.7"}}
        out, errors = StringIO(), StringIO()
        path = written(tmp_path, configuration(sinks=sinks))
        assert egress_command.egress(path, form=form, stream=out, errors=errors, **options) == 0
        return out.getvalue(), errors.getvalue()

    return wall


def test_the_systemd_wall_names_what_is_on_this_site(wall: Any) -> None:
    out, errors = wall("systemd")
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert lines == [
        "[Service]",
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
        "IPAddressAllow=10.0.0.1",
        "IPAddressAllow=10.0.0.5",
        "IPAddressAllow=fd00::9",
    ]
    assert errors.startswith("sink:far is not let through: 203.0.113.7 is public")


def test_the_nft_wall_judges_one_user(wall: Any) -> None:
    out, _ = wall("nft", user="cams")
    rules = [line.strip() for line in out.splitlines()]
    assert 'meta skuid != "cams" accept' in rules
    assert 'ip daddr 10.0.0.5 accept comment "model:m"' in rules
    assert 'ip6 daddr fd00::9 accept comment "sink:near"' in rules
    assert rules.index("counter reject with icmpx admin-prohibited") > rules.index(
        'ip6 daddr fd00::9 accept comment "sink:near"'
    )


def test_the_wall_is_a_document_for_scripts(wall: Any) -> None:
    out, errors = wall("systemd", as_json=True)
    document = json.loads(out)
    assert document["allowed"] == ["10.0.0.1", "10.0.0.5", "fd00::9"]
    assert document["shut_out"] == ["sink:far"]
    assert errors == ""


def test_a_wrong_file_gives_no_wall(tmp_path: Path) -> None:
    path = tmp_path / "edgevlm.yaml"
    path.write_text("modles: {}\n")
    errors = StringIO()
    assert egress_command.egress(path, form="nft", stream=StringIO(), errors=errors) == 78
    assert "did you mean models?" in errors.getvalue()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_both_walls(wall: Any, tmp_path: Path) -> None:
    """The one that is made, and the one that ships."""
    units = Path(__file__).parents[2] / "systemd"
    unit = tmp_path / "unit" / "edgevlm.service"
    drop_ins = tmp_path / "unit" / "edgevlm.service.d"
    drop_ins.mkdir(parents=True)
    unit.write_text(
        re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", (units / "edgevlm.service").read_text())
    )
    for text in (wall("systemd")[0], (units / "edgevlm-air-gapped.conf").read_text()):
        (drop_ins / "egress.conf").write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
