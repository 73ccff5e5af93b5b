"""The last seconds of a stream as packets: whole GOPs, bounded by seconds and by bytes.

Invariants:
- the first packet of every GOP is a keyframe, so each GOP can be decoded alone;
- eviction takes a whole GOP, the oldest first, and never the newest one;
- the byte bound wins: a single GOP that outgrows it is reduced to its keyframe and takes nothing more
  (`closed`) until the next keyframe comes, so that there is always something to decode. Only a keyframe that
  is larger than the bound all by itself is held beyond it.

Owned by one camera's thread; pictures are asked for by another, hence the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace

from edgevlm.records import Instant


@dataclass(frozen=True, slots=True)
class Packet:
    """An encoded unit as the demuxer gave it, copied out of FFmpeg's buffers, with its times."""

    data: bytes = field(repr=False)
    instant: Instant
    dts_ns: int
    keyframe: bool


@dataclass(slots=True)
class Gop:
    """A keyframe and all that depends on it, in decode order."""

    packets: list[Packet]
    size: int
    closed: bool = False


class Ring:
    """Bounded memory of one session."""

    def __init__(self, max_secs: float, max_bytes: int) -> None:
        self._max_ns = int(max_secs * 1e9)
        self._max_bytes = max_bytes
        self._gops: deque[Gop] = deque()
        self._lock = threading.Lock()
        self._size = 0
        self._kept_last = False
        self.in_parts = False
        """Whether pictures come in several packets: then the last one is not whole until another follows."""

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    def add(self, packet: Packet) -> bool:
        """Keep `packet`; return False when there is no keyframe that it could be decoded from."""
        with self._lock:
            self._kept_last = packet.keyframe or (bool(self._gops) and not self._gops[-1].closed)
            if not self._kept_last:
                return False
            if packet.keyframe:
                self._gops.append(Gop([], 0))
            self._gops[-1].packets.append(packet)
            self._grow(len(packet.data), packet.instant.captured_mono_ns)
            return True

    def extend(self, data: bytes) -> Packet | None:
        """Add the rest of a picture to the packet that came last; return it whole, None if it is not here."""
        with self._lock:
            if not self._kept_last:
                return None
            packets = self._gops[-1].packets
            packets[-1] = whole = replace(packets[-1], data=packets[-1].data + data)
            self._grow(len(data), whole.instant.captured_mono_ns)
            return whole

    def newest(self, tolerance_ns: int = 0) -> list[Packet]:
        """Return the packets to decode for the newest frame, ending with that frame's; maybe none.

        A keyframe that is not more than `tolerance_ns` older is taken instead: it is decoded alone.
        """
        with self._lock:
            whole = self._whole()
        if not whole:
            return []
        last = _shown_last(whole[-1])
        age_ns = last.instant.captured_mono_ns - whole[-1][0].instant.captured_mono_ns
        return whole[-1][:1] if age_ns <= tolerance_ns else _until(whole[-1], last)

    def at(self, instant: Instant) -> list[Packet]:
        """Return the packets to decode for the frame at `instant`; none when it has left the ring."""
        with self._lock:
            for gop in reversed(self._gops):
                for packet in gop.packets:
                    if packet.instant == instant:
                        return _until(gop.packets, packet)
            return []

    def around(self, mono_ns: int) -> list[Packet]:
        """Return the packets to decode for the frame that was shown at `mono_ns`.

        That is the newest one captured by then, or the oldest one that is still here.
        """
        with self._lock:
            whole = self._whole()
        if not whole:
            return []
        gop = next((gop for gop in reversed(whole) if _shown(gop[0], mono_ns)), whole[0])
        return _until(gop, _shown_last([packet for packet in gop if _shown(packet, mono_ns)] or gop[:1]))

    def between(self, from_mono_ns: int, to_mono_ns: int) -> list[Packet]:
        """Return the packets of what was shown in this time, whole GOPs but for the end; maybe none.

        They begin with the keyframe that the first moment is decoded from, or with the oldest that is here.
        """
        packets: list[Packet] = []
        with self._lock:
            for gop in reversed(self._gops):
                if _shown(gop.packets[0], to_mono_ns):
                    packets[:0] = gop.packets
                if _shown(gop.packets[0], from_mono_ns):
                    break
        return _up_to(packets, to_mono_ns)

    def _whole(self) -> list[list[Packet]]:
        """Return the GOPs as far as their pictures are whole."""
        gops = [gop.packets[:] for gop in self._gops]
        if self.in_parts and self._kept_last and gops:
            gops[-1].pop()
        return [packets for packets in gops if packets]

    def _grow(self, count: int, now_ns: int) -> None:
        """Count `count` bytes more in the newest GOP, and keep the bounds."""
        self._gops[-1].size += count
        self._size += count
        while len(self._gops) > 1 and (self._size > self._max_bytes or self._covered_without_oldest(now_ns)):
            self._size -= self._gops.popleft().size
        if self._size > self._max_bytes:
            self._close(self._gops[-1])

    def _covered_without_oldest(self, now_ns: int) -> bool:
        return now_ns - self._gops[1].packets[0].instant.captured_mono_ns >= self._max_ns

    def _close(self, gop: Gop) -> None:
        """Reduce a GOP that is larger than the whole ring to its keyframe."""
        self._kept_last = len(gop.packets) == 1
        gop.packets = gop.packets[:1]
        gop.size = self._size = len(gop.packets[0].data)
        gop.closed = True


def _up_to(packets: list[Packet], mono_ns: int) -> list[Packet]:
    """Return what is decoded for the frames shown up to a moment, and those that are shown among them."""
    count = 1 + max((index for index, packet in enumerate(packets) if _shown(packet, mono_ns)), default=-1)
    while count < len(packets):
        highest_ns = max((packet.instant.pts_ns for packet in packets[:count]), default=0)
        among = (i for i in range(count, len(packets)) if packets[i].instant.pts_ns < highest_ns)
        wider = 1 + max(among, default=count - 1)
        if wider == count:
            break
        count = wider
    return packets[:count]


def _until(packets: list[Packet], last: Packet) -> list[Packet]:
    return packets[: packets.index(last) + 1]


def _shown_last(packets: list[Packet]) -> Packet:
    return max(packets, key=lambda packet: packet.instant.pts_ns)


def _shown(packet: Packet, mono_ns: int) -> bool:
    return packet.instant.captured_mono_ns <= mono_ns
