"""What one section says of another: names that must exist, files that must be there, names that would clash.

Each check is a small function over the configuration and the report; none changes anything. They see what is
left when wrong values are taken out, and ask the report for the names that stand in the file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from edgevlm.capture.config import FileSourceConfig, ImageSourceConfig
from edgevlm.config.finish import FILE_OPTIONS, sections
from edgevlm.config.mistakes import KeyPath, Report, all_known, did_you_mean
from edgevlm.config.model import Config, RuleConfig, default_node
from edgevlm.config.shape import options
from edgevlm.infer.config import EmbeddedConfig
from edgevlm.infer.variables import variables_in
from edgevlm.publish.config import FileSinkConfig, MqttSinkConfig
from edgevlm.runtime.section import RESERVED_NAMES

RESERVED_RULES = frozenset({"status", "enable", "enabled"})
"""`NODE/CAMERA/status` is the camera's own topic, and `cmd/CAMERA/enable` its own command."""


def models_of(config: Config, rule: RuleConfig) -> tuple[str, ...]:
    """Return the names of the models that a rule asks, in the order of fail-over."""
    return tuple(config.models) if rule.model is None else (rule.model,)


def sinks_of(config: Config, rule: RuleConfig) -> tuple[str, ...]:
    """Return the names of the sinks that a rule's answers go to."""
    return tuple(config.sinks) if rule.sinks is None else tuple(rule.sinks)


def check_references(config: Config, report: Report) -> None:
    """Run every check."""
    for check in _CHECKS:
        check(config, report)


def _rules(config: Config) -> Iterator[tuple[KeyPath, RuleConfig]]:
    for name, camera in config.cameras.items():
        for rule_name, rule in camera.rules.items():
            yield ("cameras", name, "rules", rule_name), rule


def _check_models(config: Config, report: Report) -> None:
    if report.told(("models",)):
        return
    declared = report.places.below(("models",))
    for path, rule in _rules(config):
        where = (*path, "model")
        if rule.model is not None and rule.model not in declared:
            message = f"no model is called {report.quoted(rule.model)}"
            report.wrong_value(where, message, _declared_hint(rule.model, declared, "models"))
        elif rule.model is None and len(declared) > 1:
            report.lacks(where, "`model` is missing, for there are several", all_known(declared))
        elif rule.model is None and not declared:
            report.lacks(where, "there is no model to ask", "describe one below `models:`")


def _declared_hint(name: str, declared: list[str], section: str) -> str:
    return did_you_mean(name, declared) if declared else f"describe it below `{section}:`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _check_sinks(config: Config, report: Report) -> None:
    if report.told(("sinks",)):
        return
    declared = report.places.below(("sinks",))
    for path, rule in _rules(config):
        _check_sink_names((*path, "sinks"), rule.sinks or [], declared, report)
        if not sinks_of(config, rule) and not declared:
            report.warn((*path, "sinks"), "the answers go nowhere", "describe a sink below `sinks:`")


def _check_sink_names(path: KeyPath, named: list[str], declared: list[str], report: Report) -> None:
    seen: set[str] = set()
    for index, name in enumerate(named):
        if name not in declared:
            hint = _declared_hint(name, declared, "sinks")
            report.wrong_value((*path, index), f"no sink is called {report.quoted(name)}", hint)
        elif name in seen:
            report.wrong_value((*path, index), f"{report.quoted(name)} is named twice", "remove one")
        seen.add(name)


def _check_tasks(config: Config, report: Report) -> None:
    for path, rule in _rules(config):
        for name in models_of(config, rule):
            model = config.models.get(name)
            if report.told(("models", name, "type")) or report.told((*path, "task")):
                continue
            if isinstance(model, EmbeddedConfig) and rule.task.type != "ocr":
                report.wrong_value(
                    (*path, "task", "type"),
                    f"the embedded model {name} can only do ocr",
                    "name another model for this rule, or take the task ocr",
                )


def _check_zones(config: Config, report: Report) -> None:
    for name, camera in config.cameras.items():
        for rule_name, rule in camera.rules.items():
            path: KeyPath = ("cameras", name, "rules", rule_name)
            declared = report.places.below(("cameras", name, "zones"))
            for index, zone in enumerate(rule.trigger.zones):
                if zone not in declared:
                    hint = (
                        did_you_mean(zone, declared)
                        if declared
                        else "describe it below the camera's `zones:`"
                    )
                    message = f"no zone of this camera is called {report.quoted(zone)}"
                    report.wrong_value((*path, "trigger", "zones", index), message, hint)
            if rule.picture.crop == "zone" and not rule.trigger.zones:
                where = (*path, "picture", "crop")
                report.wrong_value(
                    where, "the trigger names no zones to crop to", "add `zones:` to the trigger"
                )


def _check_frames(config: Config, report: Report) -> None:
    for name, camera in config.cameras.items():
        for rule_name, rule in camera.rules.items():
            path: KeyPath = ("cameras", name, "rules", rule_name, "frames")
            frames = rule.frames
            reach_secs = frames.before_secs + frames.after_secs
            if reach_secs > camera.ring_secs:
                hint = f"raise the camera's `ring_secs` to {reach_secs:g} or more"
                report.wrong_value((*path, "before_secs"), f"the ring holds {camera.ring_secs:g} s", hint)
            if frames.count > 1 and frames.before_secs + frames.after_secs <= 0:
                hint = "say how far they are spread: before_secs, after_secs"
                report.wrong_value((*path, "count"), "several frames of one instant are the same frame", hint)


def _check_clips(config: Config, report: Report) -> None:
    for name, camera in config.cameras.items():
        for rule_name, rule in camera.rules.items():
            if rule.clip is None:
                continue
            path: KeyPath = ("cameras", name, "rules", rule_name)
            where = (*path, "clip")
            secs = rule.clip.before_secs + rule.clip.after_secs
            if secs > camera.ring_secs:
                hint = f"raise the camera's `ring_secs` to {secs:g} or more"
                report.wrong_value((*where, "before_secs"), f"the ring holds {camera.ring_secs:g} s", hint)
            if secs <= 0:
                message = "a clip of no length shows nothing"
                report.wrong_value((*where, "before_secs"), message, "say how far back it begins, e.g. 4")
            if rule.frames.count > 1:
                message = "a rule asks about a clip or about several frames, not both"
                report.wrong_value(where, message, "remove `clip` or `frames`")
            if rule.task.type == "object-detection" and not report.told((*path, "task")):
                message = "boxes belong to one picture, not to a clip"
                report.wrong_value(where, message, "remove `clip`, or take another task")


def _check_variables(config: Config, report: Report) -> None:
    for path, rule in _rules(config):
        for key in ("prompt", "system_prompt"):
            text = getattr(rule.task, key, None) or ""
            for variable in variables_in(text):
                name = variable.removeprefix("vars.")
                if variable.startswith("vars.") and name not in config.vars:
                    hint = (
                        did_you_mean(name, list(config.vars)) if config.vars else "describe it below `vars:`"
                    )
                    report.wrong_value((*path, "task", key), f"no variable is called {name}", hint)


def _check_names(config: Config, report: Report) -> None:
    reserved = _listed(sorted(RESERVED_NAMES))
    for name, camera in config.cameras.items():
        if name in RESERVED_NAMES:
            report.wrong_key(("cameras", name), "this name is reserved for MQTT topics", f"not {reserved}")
        for rule in RESERVED_RULES.intersection(camera.rules):
            hint = f"not {_listed(sorted(RESERVED_RULES))}"
            path: KeyPath = ("cameras", name, "rules", rule)
            report.wrong_key(path, "this name is reserved for the camera's own topics", hint)


def _check_cameras_have_rules(config: Config, report: Report) -> None:
    for name in config.cameras:
        path: KeyPath = ("cameras", name)
        if not report.places.below((*path, "rules")) and not report.told((*path, "rules")):
            report.warn(path, "the camera has no rules, so nothing is asked about it", "add `rules:`")


def _check_sources(config: Config, report: Report) -> None:
    for name, camera in config.cameras.items():
        source = camera.source
        path: KeyPath = ("cameras", name, "source", "path")
        if isinstance(source, FileSourceConfig):
            _check_path(path, source.path, report, _readable)
        elif isinstance(source, ImageSourceConfig):
            _check_path(path, source.path, report, _exists)


def _check_certificates(config: Config, report: Report) -> None:
    for path, section in sections(config):
        for key, option in options(type(section)).items():
            file = getattr(section, option.name)
            if key in FILE_OPTIONS - {"path"} and isinstance(file, str):
                _check_path((*path, key), file, report, _readable)


def _check_path(path: KeyPath, file: str, report: Report, find: Callable[[str], str]) -> None:
    reason = find(file)
    if reason:
        shown = file if file.isprintable() else "this path"
        report.wrong_value(path, f"{shown}: {reason}", "relative paths begin at the configuration file")


def _exists(file: str) -> str:
    """Return why `file` cannot be found, or nothing."""
    try:
        Path(file).stat()
    except OSError as error:
        return (error.strerror or "cannot be found").lower()
    except ValueError:
        return "not a path"
    return ""


def _readable(file: str) -> str:
    """Return why `file` cannot be read as a file, or nothing."""
    reason = _exists(file)
    if reason:
        return reason
    if stat.S_ISDIR(Path(file).stat().st_mode):
        return "is a directory"
    return "" if os.access(file, os.R_OK) else "permission denied"


def _check_timezone(config: Config, report: Report) -> None:
    name = config.site.timezone
    if name is None or _is_timezone(name):
        return
    known = available_timezones()
    hint = did_you_mean(name, known) if len(known) > 1 else "install the system's package tzdata"
    if not hint.startswith(("did", "install")):
        hint = "e.g. Europe/Berlin or UTC"
    report.wrong_value(("site", "timezone"), f"{report.quoted(name)} is not a known time zone", hint)


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _check_directories(config: Config, report: Report) -> None:
    taken: dict[str, str] = {}
    for name, sink in config.sinks.items():
        if not isinstance(sink, FileSinkConfig):
            continue
        directory = os.path.normpath(sink.directory)
        if directory in taken:
            message = f"the sink {taken[directory]} writes into the same directory"
            path = ("sinks", name, "directory")
            report.wrong_value(path, message, "give each file sink a `directory` of its own")
        taken.setdefault(directory, name)


def _check_brokers(config: Config, report: Report) -> None:
    taken: dict[tuple[str, int, str], str] = {}
    for name, sink in config.sinks.items():
        if not isinstance(sink, MqttSinkConfig):
            continue
        _check_host(("sinks", name, "host"), sink.host, report)
        client = (sink.host.lower(), broker_port(sink), sink.client_id or "")
        if client in taken:
            message = f"the sink {taken[client]} has the same client_id at the same broker"
            hint = "give each a `client_id` of its own: a broker drops the older connection of two"
            report.wrong_value(("sinks", name, "client_id"), message, hint)
        taken.setdefault(client, name)


def broker_port(sink: MqttSinkConfig) -> int:
    """Return the port of a broker, which depends on TLS when it is not given."""
    return sink.port or (8883 if sink.tls else 1883)


def _check_host(path: KeyPath, host: str, report: Report) -> None:
    name, colon, port = host.partition(":")
    if colon and name and port.isdigit():
        report.wrong_value(path, "a port stands in the host", f"write it below `port:`, {port}")
    elif not _HOST.fullmatch(host):
        report.wrong_value(path, "this is no host", "a name or an address, not a URL, e.g. 10.0.0.5")


_HOST = re.compile(r"[^\s/@?#\[\]\x00-\x1f]{1,253}")


def _check_node(config: Config, report: Report) -> None:
    """Warn of a node name that half the world has: two such boxes at one broker would mix their topics."""
    shared = any(isinstance(sink, MqttSinkConfig) for sink in config.sinks.values())
    if shared and "node" not in config.model_fields_set and default_node() in _COMMON_NODES:
        message = f"without `node` this box is called {default_node()}, like many others"
        report.warn(("node",), message, "give it a name, e.g. `node: gateway-7`")


_COMMON_NODES = frozenset({"localhost", "debian", "raspberrypi", "ubuntu"})

_CHECKS: tuple[Callable[[Config, Report], None], ...] = (
    _check_names,
    _check_models,
    _check_tasks,
    _check_zones,
    _check_frames,
    _check_clips,
    _check_variables,
    _check_sinks,
    _check_sources,
    _check_certificates,
    _check_timezone,
    _check_directories,
    _check_brokers,
    _check_cameras_have_rules,
    _check_node,
)
