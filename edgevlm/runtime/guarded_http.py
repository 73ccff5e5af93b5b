"""aiohttp held to the egress policy: what it looks up, and what it connects to.

Names go through `lookup`, which asks the system's resolver in threads of its own; addresses are judged once
more when a socket is made for them, which also covers hosts that are addresses and so are never looked up.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from edgevlm.runtime import egress, lookup
from edgevlm.runtime.addresses import Address, numeric_address
from edgevlm.runtime.egress import Policy


class GuardedResolver(AbstractResolver):
    """Finds the addresses that the policy allows; a name with one that it does not allow is refused."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.

        Raises:
            OSError: there are none, or the policy objects (`EgressRefused`).

        """
        addresses = await lookup.permitted_soon(host, self._policy)
        results = [_result(host, port, address) for address in addresses]
        return [result for result in results if family in (socket.AF_UNSPEC, result["family"])]

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, port: int, address: Address) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=str(address),
        port=port,
        family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


def guarded_connector(policy: Policy, **options: Any) -> aiohttp.TCPConnector:
    """Return a connector that goes nowhere that `policy` does not allow."""
    return aiohttp.TCPConnector(
        resolver=GuardedResolver(policy), socket_factory=partial(_socket, policy), **options
    )


def _socket(policy: Policy, info: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, target = info
    address = numeric_address(str(target[0]))
    if address is None:
        raise egress.refused(str(target[0]), "it was not looked up")
    egress.require(address, policy)
    return socket.socket(family, kind, protocol)
