"""Names to addresses, through the policy, without ever holding anybody up.

The system's resolver cannot be interrupted and may hang for half a minute. So it is asked in threads of our
own: daemon threads, for those of an executor would be waited for at the end of the process. Their number is
bounded; who comes when all of them hang is told so at once. What the policy objects to is not asked at all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from edgevlm.runtime import clouds, egress
from edgevlm.runtime.addresses import Address, numeric_address, plain_host
from edgevlm.runtime.egress import Policy

TOTAL_SECS = 3.0
"""For all names of a configuration together."""
MAX_AT_ONCE = 32

_LOOPBACK: tuple[Address, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))

_T = TypeVar("_T")
_room = threading.BoundedSemaphore(MAX_AT_ONCE)


class NotFound(socket.gaierror):
    """A name without an address, here and now; `strerror` says why."""

    def __init__(self, why: str) -> None:
        super().__init__(socket.EAI_NONAME, why)
        self.why = why


def look_up(host: str, policy: Policy) -> tuple[Address, ...]:
    """Return the addresses of `host`, whether or not one may connect to them; blocks as the resolver does.

    Raises:
        NotFound: there are none.
        EgressRefused: the question itself must not be asked.

    """
    try:
        name = plain_host(host)
    except ValueError as error:
        raise NotFound(str(error)) from None
    number = numeric_address(name)
    if number is not None:
        return (number,)
    if clouds.is_this_box(name):
        return tuple(egress.in_hosts_file(name)) or _LOOPBACK
    if why := egress.lookup_objection(name, policy):
        raise egress.refused(name, why)
    if policy.limit != "internet" and (known := egress.in_hosts_file(name)):
        return tuple(dict.fromkeys(known))  # without asking: the resolver might go on to DNS
    return _asked(name)


def _asked(name: str) -> tuple[Address, ...]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NotFound((error.strerror or "no answer").lower()) from None
    except (OSError, UnicodeError, ValueError) as error:
        raise NotFound(type(error).__name__) from None
    addresses = (numeric_address(str(entry[4][0])) for entry in found)
    return tuple(dict.fromkeys(address for address in addresses if address is not None))


def permitted(host: str, policy: Policy) -> tuple[Address, ...]:
    """Return the addresses of `host` to connect to; blocks as the resolver does.

    Raises:
        NotFound: there are none.
        EgressRefused: the policy objects, to one of them at least.

    """
    addresses = look_up(host, policy)
    if not addresses:
        raise NotFound("no address")
    if why := policy.objection_to_all(addresses):
        raise egress.refused(host, why)
    return addresses


async def permitted_soon(host: str, policy: Policy) -> tuple[Address, ...]:
    """Do what `permitted` does without holding up the event loop."""
    number = numeric_address(host)
    if number is not None:
        return permitted(str(number), policy)
    return await asyncio.wrap_future(_in_thread(lambda: permitted(host, policy)))


def _in_thread(job: Callable[[], _T]) -> Future[_T]:
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()
    if not _room.acquire(blocking=False):
        future.set_exception(NotFound("the resolver hangs, and too many wait for it already"))
        return future

    def run() -> None:
        try:
            found = job()
        except OSError as error:
            future.set_exception(error)
        except BaseException as error:  # noqa: BLE001  # a thread ends here; who waits for it is told
            future.set_exception(error)
        else:
            future.set_result(found)
        finally:
            _room.release()

    threading.Thread(target=run, name="edgevlm.lookup", daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up brought: addresses, or why there are none."""

    addresses: tuple[Address, ...] = ()
    why: str = ""


LookUpAll = Callable[[Iterable[str], Policy], Mapping[str, Found]]


def look_up_all(
    hosts: Iterable[str], policy: Policy, *, timeout_secs: float = TOTAL_SECS
) -> dict[str, Found]:
    """Return what can be found about all `hosts` in `timeout_secs` together."""
    wanted = list(dict.fromkeys(hosts))
    futures: dict[str, Future[Found]] = {host: Future() for host in wanted}
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for host in wanted:
        waiting.put(host)

    def work() -> None:
        while not waiting.empty():
            try:
                host = waiting.get_nowait()
            except queue.Empty:
                return
            futures[host].set_result(_found(host, policy))

    for _ in range(min(len(wanted), MAX_AT_ONCE)):
        threading.Thread(target=work, name="edgevlm.lookup", daemon=True).start()
    wait(futures.values(), timeout_secs)
    late = Found(why=f"the resolver did not answer within {timeout_secs:g} s")
    return {host: future.result() if future.done() else late for host, future in futures.items()}


def _found(host: str, policy: Policy) -> Found:
    try:
        return Found(look_up(host, policy))
    except NotFound as error:
        return Found(why=error.why)
    except egress.EgressRefused as error:
        return Found(why=error.why)
    except Exception as error:  # noqa: BLE001  # a thread's end: whatever a resolver does, there is a verdict
        return Found(why=type(error).__name__)
