"""`edgevlm egress`: the second wall, for the kernel: a systemd drop-in or an nftables table.

It holds what the process itself cannot be trusted to hold: sockets of C libraries, and our own mistakes.
Allowed are this box, what the configuration names on this site as it resolves now, and the name servers.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from edgevlm.config.compatibility import Component, judge
from edgevlm.config.load import load
from edgevlm.errors import ConfigError
from edgevlm.runtime.addresses import Address, place_of
from edgevlm.runtime.egress import nameservers
from edgevlm.runtime.exits import EX_CONFIG, EX_OK

Form = Literal["systemd", "nft"]


@dataclass(frozen=True, slots=True)
class Opening:
    """An address that is let through, and for whom."""

    address: Address
    whom: tuple[str, ...]


def egress(
    path: Path,
    *,
    form: Form,
    user: str = "edgevlm",
    as_json: bool = False,
    stream: TextIO | None = None,
    errors: TextIO | None = None,
) -> int:
    """Print the wall for the configuration at `path`, and return the exit code."""
    stream, errors = stream or sys.stdout, errors or sys.stderr
    try:
        loaded = load(path)
    except ConfigError as error:
        print(error, file=errors)
        return EX_CONFIG
    components = judge(loaded.config, connectivity="air-gapped").components
    openings = _openings(components)
    shut = [component for component in components if component.kind != "clock" and not _let(component)]
    text = systemd_wall(openings) if form == "systemd" else nft_wall(openings, user)
    if as_json:
        allowed = [str(opening.address) for opening in openings]
        print(
            json.dumps({"allowed": allowed, "shut_out": [part.title for part in shut], form: text}),
            file=stream,
        )
        return EX_OK
    print(text, end="", file=stream)
    for component in shut:
        print(f"{component.title} is not let through: {component.message}", file=errors)
    return EX_OK


def _let(component: Component) -> bool:
    """Say whether the wall lets a component through: it stays on this box, or its addresses are known."""
    if component.verdict == "incompatible":
        return False
    return component.needs == "none" or bool(component.resolved)


def _openings(components: Iterable[Component]) -> list[Opening]:
    found: dict[Address, list[str]] = {}
    for component in components:
        for text in component.resolved if _let(component) else ():
            found.setdefault(ipaddress.ip_address(text), []).append(component.title)
    for server in nameservers():
        if place_of(server).reach != "internet":
            found.setdefault(server, []).append("name server")
    on_site = {address: whom for address, whom in found.items() if place_of(address).reach != "none"}
    ordered = sorted(on_site, key=lambda address: (address.version, int(address)))
    return [Opening(address, tuple(on_site[address])) for address in ordered]


def systemd_wall(openings: Iterable[Opening]) -> str:
    """Return a drop-in for edgevlm.service."""
    lines = [
        "# Made by `edgevlm egress --systemd`; make it anew when the configuration or an address changes.",
        "# Put it into /etc/systemd/system/edgevlm.service.d/egress.conf, then: systemctl daemon-reload",
        "[Service]",
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
    ]
    for opening in openings:
        lines += [f"# {', '.join(opening.whom)}", f"IPAddressAllow={_plain(opening.address)}"]
    return "\n".join(lines) + "\n"


def nft_wall(openings: Iterable[Opening], user: str) -> str:
    """Return a table for nftables that judges what `user` sends."""
    known = list(openings)
    rules = [
        f"{'ip' if opening.address.version == 4 else 'ip6'} daddr {_plain(opening.address)} accept"
        f' comment "{", ".join(opening.whom)[:100]}"'
        for opening in known
    ]
    body = [
        "type filter hook output priority filter; policy accept;",
        f'meta skuid != "{user}" accept',
        'oifname "lo" accept',
        *rules,
        'limit rate 6/minute log prefix "edgevlm egress: "',
        "counter reject with icmpx admin-prohibited",
    ]
    return "\n".join(
        [
            "# Made by `edgevlm egress --nft`; make it anew when the configuration or an address changes.",
            f"# Load it with: nft -f FILE. It judges what the user {user} sends, and nobody else.",
            "table inet edgevlm",
            "delete table inet edgevlm",
            "table inet edgevlm {",
            "    chain output {",
            *(f"        {line}" for line in body),
            "    }",
            "}",
            "",
        ]
    )


def _plain(address: Address) -> str:
    """Return an address without its interface, which neither wall knows."""
    return str(address).split("%", 1)[0]
