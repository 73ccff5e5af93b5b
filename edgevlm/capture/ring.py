"""The last seconds of a stream as packets: whole GOPs, bounded by seconds and by bytes.

Invariants:
- the first packet of every GOP is a keyframe, so each GOP can be decoded alone;
- eviction takes a whole GOP, the oldest first, and never the newest one;
- the byte bound wins: a single GOP that outgrows it keeps its keyframe and its room goes to nothing else
  (`closed`) until the next keyframe comes, so that there is always something to decode.

Owned by one camera's thread; pictures are asked for by another, hence the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

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

    def newest(self) -> Packet:
        """Return the packet that is shown last."""
        return max(self.packets, key=lambda packet: packet.instant.pts_ns)


class Ring:
    """Bounded memory of one stream."""

    def __init__(self, max_secs: float, max_bytes: int) -> None:
        self._max_ns = int(max_secs * 1e9)
        self._max_bytes = max_bytes
        self._gops: deque[Gop] = deque()
        self._lock = threading.Lock()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    def add(self, packet: Packet) -> bool:
        """Keep `packet`; return False when there is no keyframe that it could be decoded from."""
        with self._lock:
            if packet.keyframe:
                self._gops.append(Gop([packet], len(packet.data)))
            elif not self._gops or self._gops[-1].closed:
                return False
            else:
                self._gops[-1].packets.append(packet)
                self._gops[-1].size += len(packet.data)
            self._size += len(packet.data)
            self._evict(packet.instant.captured_mono_ns)
            return True

    def clear(self) -> None:
        """Forget everything: the next packets belong to another stream."""
        with self._lock:
            self._gops.clear()
            self._size = 0

    def newest(self) -> list[Packet]:
        """Return the packets to decode for the newest frame, ending with that frame's; maybe none."""
        with self._lock:
            return self._until(self._gops[-1], self._gops[-1].newest()) if self._gops else []

    def at(self, instant: Instant) -> list[Packet]:
        """Return the packets to decode for the frame at `instant`; none when it has left the ring."""
        with self._lock:
            for gop in reversed(self._gops):
                for packet in gop.packets:
                    if (packet.instant.session, packet.instant.pts_ns) == (instant.session, instant.pts_ns):
                        return self._until(gop, packet)
            return []

    def span_ns(self) -> int:
        """Return how much time the ring covers."""
        with self._lock:
            if not self._gops:
                return 0
            first = self._gops[0].packets[0].instant.captured_mono_ns
            return self._gops[-1].newest().instant.captured_mono_ns - first

    @staticmethod
    def _until(gop: Gop, last: Packet) -> list[Packet]:
        return gop.packets[: gop.packets.index(last) + 1]

    def _evict(self, now_ns: int) -> None:
        while len(self._gops) > 1 and (self._size > self._max_bytes or self._covered_without_oldest(now_ns)):
            self._size -= self._gops.popleft().size
        if self._size > self._max_bytes:
            self._close(self._gops[-1])

    def _covered_without_oldest(self, now_ns: int) -> bool:
        return now_ns - self._gops[1].packets[0].instant.captured_mono_ns >= self._max_ns

    def _close(self, gop: Gop) -> None:
        """Reduce a GOP that is larger than the whole ring to its keyframe."""
        gop.packets = gop.packets[:1]
        gop.size = self._size = len(gop.packets[0].data)
        gop.closed = True
