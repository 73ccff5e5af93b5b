"""A real RTSP server for tests: GStreamer's, serving H.264 and H.265 recordings in a loop, not re-encoded.

    /usr/bin/python3 gst_rtsp.py /plain=a.mp4 /locked=b.mkv --lock /locked --user u --password p --auth digest

Run by the system's Python, which has Debian's bindings: python3-gi gir1.2-gst-rtsp-server-1.0
gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-{base,good,bad}. Prints one line of JSON, `{"port": N}`, when
it listens. Each mount is one live pipeline shared by its clients, as in a camera. SIGUSR1 freezes and thaws
all mounts (connections stay, data stops), SIGUSR2 throws all clients out, SIGTERM ends the server.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import dataclass, field
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402 (versions come first)

assert GstApp  # imported for its types: without it appsrc and appsink lack their methods

FREEZE_STEP_MS = 50
EARLY_NS = 2_000_000
"""A unit is pushed when it is due in less than this."""


@dataclass(frozen=True)
class Unit:
    """A coded picture and its times from the beginning of the recording."""

    data: Any
    pts_ns: int
    dts_ns: int


@dataclass(frozen=True)
class Clip:
    """A recording in memory."""

    codec: str
    caps: Any
    units: list[Unit]
    step_ns: int

    @property
    def length_ns(self) -> int:
        """How long one round of the loop takes."""
        return len(self.units) * self.step_ns


@dataclass
class Switch:
    """What signals change while the server runs."""

    frozen: bool = False


@dataclass
class Player:
    """Pushes a clip into one pipeline at its own pace, again and again, until the pipeline goes."""

    clip: Clip
    source: Any
    switch: Switch
    began_ns: int = -1
    pushed: int = 0
    stopped: bool = field(default=False)

    def tick(self) -> bool:
        """Push what is due and come back when the next unit is; GLib wants to hear that a timer is over."""
        if not self.stopped:
            self._after(self._push_due() if self._is_playing() else 20)
        return False

    def stop(self) -> None:
        """Push no more."""
        self.stopped = True

    def _after(self, pause_ms: int) -> None:
        GLib.timeout_add(max(1, pause_ms), self.tick)

    def _is_playing(self) -> bool:
        return self.source.get_clock() is not None and self.source.get_state(0)[1] == Gst.State.PLAYING

    def _push_due(self) -> int:
        """Return how many milliseconds there are until the next unit."""
        now_ns = self.source.get_clock().get_time() - self.source.get_base_time()
        if self.began_ns < 0:
            self.began_ns = now_ns
        if self.switch.frozen:
            self.began_ns += FREEZE_STEP_MS * Gst.MSECOND
            return FREEZE_STEP_MS
        while self._next_dts_ns() <= now_ns + EARLY_NS:
            self._push()
        return int((self._next_dts_ns() - now_ns) // Gst.MSECOND)

    def _offset_ns(self) -> int:
        return self.began_ns + self.pushed // len(self.clip.units) * self.clip.length_ns

    def _next_unit(self) -> Unit:
        return self.clip.units[self.pushed % len(self.clip.units)]

    def _next_dts_ns(self) -> int:
        return self._offset_ns() + self._next_unit().dts_ns

    def _push(self) -> None:
        unit = self._next_unit()
        buffer = Gst.Buffer.new_wrapped_bytes(unit.data)
        buffer.pts, buffer.dts = self._offset_ns() + unit.pts_ns, self._next_dts_ns()
        buffer.duration = self.clip.step_ns
        self.source.emit("push-buffer", buffer)
        self.pushed += 1


class Factory(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc] # gi has no types
    """Makes the pipeline of one mount when its first client comes."""

    def __init__(self, clip: Clip, switch: Switch) -> None:
        super().__init__()
        self._clip = clip
        self._switch = switch
        self.set_shared(True)
        self.set_latency(0)
        name = clip.codec
        self.set_launch(
            f"( appsrc name=source is-live=true format=time block=false max-bytes=0 ! {name}parse"
            f" ! rtp{name}pay name=pay0 pt=96 config-interval=-1 )"
        )

    def do_configure(self, media: Any) -> None:
        """Connect a player to the new pipeline; what the factory was told to be, the media must be, too."""
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        source = media.get_element().get_by_name("source")
        source.set_property("caps", self._clip.caps)
        player = Player(self._clip, source, self._switch)
        media.connect("unprepared", lambda _: player.stop())
        player.tick()


def load(path: str) -> Clip:
    """Read all coded pictures of a recording's video."""
    pipeline = Gst.parse_launch(f'filesrc location="{path}" ! parsebin name=parser')
    sink = Gst.ElementFactory.make("appsink")
    sink.set_property("sync", 0)
    pipeline.add(sink)
    pipeline.get_by_name("parser").connect("pad-added", link_video, pipeline, sink)
    pipeline.set_state(Gst.State.PLAYING)
    samples = list(iter(lambda: sink.emit("try-pull-sample", 20 * Gst.SECOND), None))
    pipeline.set_state(Gst.State.NULL)
    if not samples:
        sys.exit(f"{path}: no H.264 or H.265 video in it")
    caps = samples[-1].get_caps()
    return clip_of([sample.get_buffer() for sample in samples], caps)


def link_video(_parser: Any, pad: Any, pipeline: Any, sink: Any) -> None:
    """Send the first video stream to the sink, as Annex B with parameter sets before each keyframe."""
    kind = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0).get_name()
    if kind not in ("video/x-h264", "video/x-h265") or sink.get_static_pad("sink").is_linked():
        return
    parse = Gst.ElementFactory.make(f"{kind.removeprefix('video/x-')}parse")
    parse.set_property("config-interval", -1)
    form = Gst.ElementFactory.make("capsfilter")
    form.set_property("caps", Gst.Caps.from_string(f"{kind},stream-format=byte-stream,alignment=au"))
    for element in (parse, form):
        pipeline.add(element)
        element.sync_state_with_parent()
    pad.link(parse.get_static_pad("sink"))
    parse.link(form)
    form.link(sink)


def clip_of(buffers: list[Any], caps: Any) -> Clip:
    """Put the pictures' times on a scale that begins with 0 and never decodes after it shows."""
    codec = caps.get_structure(0).get_name().removeprefix("video/x-")
    shown = sorted(buffer.pts for buffer in buffers)
    step_ns = (shown[-1] - shown[0]) // max(1, len(shown) - 1) or Gst.SECOND
    order = {pts: rank for rank, pts in enumerate(shown)}
    delay = max(decoded - order[buffer.pts] for decoded, buffer in enumerate(buffers))
    units = [
        Unit(
            GLib.Bytes.new(buffer.extract_dup(0, buffer.get_size())),
            (order[buffer.pts] + delay) * step_ns,
            decoded * step_ns,
        )
        for decoded, buffer in enumerate(buffers)
    ]
    return Clip(codec, caps, units, step_ns)


def token(role: str) -> Any:
    """Return what a client may be once it is known."""
    made = GstRtspServer.RTSPToken.new()
    made.set_string("media.factory.role", role)
    return made


def authentication(options: argparse.Namespace) -> Any:
    """Return the server's gate: the user may all, anybody what is not locked, over TLS where asked."""
    gate = GstRtspServer.RTSPAuth.new()
    gate.set_default_token(token("anybody"))
    if options.tls:
        gate.set_tls_certificate(Gio.TlsCertificate.new_from_files(*options.tls))
    if options.auth == "digest":
        gate.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        gate.add_digest(options.user, options.password, token("user"))
    else:
        basic = GstRtspServer.RTSPAuth.make_basic(options.user, options.password)
        gate.add_basic(basic, token("user"))
    return gate


def permissions(*, locked: bool) -> Any:
    """Return who may open a mount; whoever may not even see it would get 404 in place of 401."""
    allowed = GstRtspServer.RTSPPermissions.new()
    for role, may_open in (("user", True), ("anybody", not locked)):
        allowed.add_permission_for_role(role, "media.factory.access", True)  # noqa: FBT003 (C interface)
        allowed.add_permission_for_role(role, "media.factory.construct", may_open)
    return allowed


def make_server(options: argparse.Namespace, switch: Switch) -> Any:
    """Return a server with all its mounts, not yet listening."""
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    server.set_auth(authentication(options))
    clips = {path: load(path) for path in {mount.partition("=")[2] for mount in options.mounts}}
    for mount in options.mounts:
        name, _, path = mount.partition("=")
        factory = Factory(clips[path], switch)
        if options.transport != "any":
            factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, options.transport.upper()))
        factory.set_permissions(permissions(locked=name in options.lock))
        server.get_mount_points().add_factory(name, factory)
    return server


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A real RTSP server for tests.")
    parser.add_argument("mounts", nargs="+", metavar="/NAME=FILE")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lock", action="append", default=[], metavar="/NAME")
    parser.add_argument("--user", default="user")
    parser.add_argument("--password", default="password")
    parser.add_argument("--auth", choices=("basic", "digest"), default="digest")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--transport", choices=("any", "tcp", "udp"), default="any")
    return parser.parse_args()


def obey_signals(server: Any, switch: Switch, loop: Any) -> None:
    """Connect the signals to what they do; each answer is one line on stdout."""

    def freeze() -> bool:
        switch.frozen = not switch.frozen
        print(json.dumps({"frozen": switch.frozen}), flush=True)
        return True

    def throw_out() -> bool:
        clients = len(server.client_filter() or [])
        server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)
        print(json.dumps({"thrown_out": clients}), flush=True)
        return True

    actions = {
        signal.SIGUSR1: freeze,
        signal.SIGUSR2: throw_out,
        signal.SIGTERM: loop.quit,
        signal.SIGINT: loop.quit,
    }
    for number, action in actions.items():
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, action)


def main() -> None:
    """Serve until told to end."""
    options = parse_options()
    Gst.init(None)
    switch, loop = Switch(), GLib.MainLoop()
    server = make_server(options, switch)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {options.port}")
    GLib.timeout_add_seconds(5, lambda: server.get_session_pool().cleanup() >= 0)
    obey_signals(server, switch, loop)
    print(json.dumps({"port": server.get_bound_port()}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
