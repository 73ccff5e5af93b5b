"""What works at a site's connectivity: every component's needs, every rule's verdict, each camera's reach.

Judged by the configured addresses as they resolve on this machine, never by a component's type. Names of
known services come first, without a look-up; then all others are looked up together, in 3 s at most; what is
not found is `unknown` and said to be. A verdict is a forecast: what is enforced is enforced at each
connection (`runtime.egress`), from the same rules.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from edgevlm.config.model import CameraConfig, Config, RuleConfig
from edgevlm.config.needs import Needs, Survey, survey
from edgevlm.config.reach import Key, Kind, address_of, carries_pictures, model_keys, parts
from edgevlm.config.references import models_of, sinks_of
from edgevlm.runtime.addresses import Reach, beyond, farthest, nearest, network_of
from edgevlm.runtime.egress import Connectivity, Policy
from edgevlm.runtime.lookup import LookUpAll, look_up_all
from edgevlm.runtime.timesync import clock_state

Verdict = Literal["ok", "incompatible", "unknown"]
Severity = Literal["soft", "hard"]


@dataclass(frozen=True, slots=True)
class Component:
    """A source, a model, a sink or the like: its address, what it needs, and whether it can work."""

    kind: Kind
    name: str
    used_by: tuple[str, ...]
    address: str
    resolved: tuple[str, ...]
    needs: Needs
    verdict: Verdict
    code: str | None
    severity: Severity
    """`hard`: it cannot work; `soft`: it works, or may, with what the message says."""
    message: str

    @property
    def key(self) -> Key:
        """What names it."""
        return self.kind, self.name

    @property
    def title(self) -> str:
        """Kind and name in one word, as the JSON has it."""
        return f"{self.kind}:{self.name}"

    def as_json(self) -> dict[str, Any]:
        """Return it as `check --json` prints it."""
        return {"component": self.title, **asdict(self)}


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """Whether a rule is left with what it needs."""

    camera: str
    rule: str
    verdict: Verdict
    code: str | None
    model: str | None
    """The first model that it may ask; the first in its list where there is none."""
    message: str = ""
    models: tuple[str, ...] = ()
    """Those that it may ask, in the order of fail-over."""
    sinks: tuple[str, ...] = ()
    """Those that its answers may go to."""
    enabled: bool = True

    @property
    def title(self) -> str:
        """Return `camera/rule`."""
        return f"{self.camera}/{self.rule}"

    @property
    def runs(self) -> bool:
        """Whether it may run."""
        return self.verdict != "incompatible"

    def as_json(self) -> dict[str, Any]:
        """Return it as `check --json` prints it."""
        return {"rule": self.title, "verdict": self.verdict, "code": self.code, "model": self.model}


@dataclass(frozen=True)
class Compatibility:
    """The whole report."""

    connectivity: Connectivity
    components: tuple[Component, ...] = ()
    rules: tuple[RuleVerdict, ...] = ()
    frames_reach: Mapping[str, Reach] = field(default_factory=dict)
    """Camera → how far its pixels can go."""
    model_limits: Mapping[str, Reach] = field(default_factory=dict)
    """Model → how far its connections may go, for the sake of the cameras that are asked about there."""

    @cached_property
    def barred(self) -> frozenset[Key]:
        """Which components cannot work, and are left out."""
        return frozenset(part.key for part in self.components if part.verdict == "incompatible")

    @cached_property
    def _rules(self) -> dict[tuple[str, str], RuleVerdict]:
        return {(rule.camera, rule.rule): rule for rule in self.rules}

    def rule(self, camera: str, rule: str) -> RuleVerdict:
        """Return what is said of a rule."""
        return self._rules[camera, rule]

    def incompatible_rules(self) -> tuple[RuleVerdict, ...]:
        """Return the rules that cannot run, apart from those that are disabled anyhow."""
        return tuple(rule for rule in self.rules if rule.enabled and not rule.runs)


def policy_of(config: Config, connectivity: Connectivity | None = None) -> Policy:
    """Return what the process may connect to under a configuration."""
    networks = [network_of(text) for text in config.site.lan_networks]
    return Policy.of(connectivity or config.site.connectivity, networks)


def judge(
    config: Config,
    *,
    connectivity: Connectivity | None = None,
    look_up: LookUpAll = look_up_all,
    environ: Mapping[str, str] = os.environ,
    ignored: Callable[[Key], bool] = lambda _: False,
) -> Compatibility:
    """Return what of `config` works here; blocks for 3 s at most, while names are looked up.

    Args:
        config: what to judge.
        connectivity: instead of the configuration's own.
        look_up: asks the resolver for all names at once.
        environ: where a proxy may be named.
        ignored: says what is not to be judged, since it holds mistakes.

    """
    mode = connectivity or config.site.connectivity
    policy = policy_of(config, mode)
    judged = [part for part in parts(config) if not ignored(part.key)]
    found = survey(judged, policy, look_up=look_up, environ=environ)
    components = [
        _component(part.key, address_of(part.section), part.used_by, found[part.key], mode) for part in judged
    ]
    court = _Court(config, components, policy.limit)
    rules = court.rules()
    return Compatibility(
        mode,
        (*components, _clock()),
        rules,
        {name: court.frames_reach(name, rules) for name in config.cameras},
        _model_limits(config, rules),
    )


def _component(
    key: Key, address: str, used_by: tuple[str, ...], found: Survey, mode: Connectivity
) -> Component:
    verdict, code, message = _judged(found, mode)
    severity: Severity = "hard" if verdict == "incompatible" else "soft"
    resolved = tuple(map(str, found.addresses))
    return Component(*key, used_by, address, resolved, found.needs, verdict, code, severity, message)


def _judged(found: Survey, mode: Connectivity) -> tuple[Verdict, str | None, str]:
    if found.fault is not None:
        return "incompatible", found.fault, found.why
    if found.needs == "unknown":
        return (
            "unknown",
            "unresolved_host",
            f"{found.why}; what it turns out to be is judged when it connects",
        )
    if found.needs != "internet" or mode == "online":
        return "ok", found.note, found.why
    if found.code == "mixed_addresses" and mode == "offline":
        return "ok", found.code, found.why
    return "incompatible", found.code or "requires_internet", f"{found.why}; {_REMEDIES[mode]}"


_REMEDIES: dict[Connectivity, str] = {
    "online": "",
    "offline": "use one on this site, or set site.connectivity: online",
    "air-gapped": "use one on this site; a network that belongs to it goes into site.lan_networks",
}


def _clock() -> Component:
    message = f"edgevlm asks no time server; results carry clock: {clock_state()}"
    return Component("clock", "system", (), "", (), "none", "ok", None, "soft", message)


class _Court:
    """Judges rules and cameras by what is known of their components."""

    def __init__(self, config: Config, components: Iterable[Component], limit: Reach) -> None:
        self._config = config
        self._known = {component.key: component for component in components}
        self._limit = limit

    def rules(self) -> tuple[RuleVerdict, ...]:
        """Judge every rule."""
        cameras = self._config.cameras.items()
        return tuple(self._rule(camera, name) for camera, section in cameras for name in section.rules)

    def _rule(self, camera: str, name: str) -> RuleVerdict:
        section = self._config.cameras[camera]
        rule = section.rules[name]
        named = models_of(self._config, rule)
        models = [model for model in named if self._works(*model_keys(model, self._config))]
        sinks = [sink for sink in sinks_of(self._config, rule) if self._works(("sink", sink))]
        verdict: Verdict = "incompatible"
        code, message = self._lack(camera, rule, models, sinks) or self._leak(section, models, sinks) or _FINE
        if not code:
            code = self._doubt(camera, models, sinks)
            verdict, message = ("unknown", _DOUBT) if code else ("ok", "")
        return RuleVerdict(
            camera,
            name,
            verdict,
            code,
            next(iter(models or named), None),
            message,
            tuple(models),
            tuple(sinks),
            enabled=rule.enabled and section.enabled,
        )

    def _works(self, *keys: Key) -> bool:
        """Say whether none of `keys` is known not to work."""
        return not self._broken(*keys)

    def _broken(self, *keys: Key) -> list[Component]:
        found = (self._known.get(key) for key in keys)
        return [component for component in found if component and component.verdict == "incompatible"]

    def _lack(
        self, camera: str, rule: RuleConfig, models: list[str], sinks: list[str]
    ) -> tuple[str, str] | None:
        """Return what a rule cannot run without: a code and a sentence, or None."""
        broken, what = self._broken(("source", camera)), "its source cannot be used"
        if not broken and not models:
            named = models_of(self._config, rule)
            keys = [key for name in named for key in model_keys(name, self._config)]
            broken, what = self._broken(*keys), "no model is left"
        if not broken and not sinks:
            broken = self._broken(*(("sink", name) for name in sinks_of(self._config, rule)))
            what = "no sink is left"
        reasons = "; ".join(f"{component.title}: {component.message}" for component in broken)
        return (broken[0].code or "requires_internet", f"{what}: {reasons}") if broken else None

    def _leak(self, camera: CameraConfig, models: list[str], sinks: list[str]) -> tuple[str, str] | None:
        """Return which component would take the camera's pixels further than they may go, or None."""
        for key in self._picture_takers(models, sinks):
            needs = self._needs(key)
            if needs != "unknown" and beyond(needs, camera.leaves):
                where = "the internet" if needs == "internet" else "the site's network"
                title = self._known[key].title
                limit = f"the camera has leaves: {camera.leaves}"
                return "frames_leave_site", f"{title} would take its pictures to {where}, and {limit}"
        return None

    def _doubt(self, camera: str, models: list[str], sinks: list[str]) -> str | None:
        """Return why it is not sure that a rule can run, or None."""
        first = [key for name in models[:1] for key in model_keys(name, self._config)]
        keys: list[Key] = [("source", camera), *first]
        keys += [("sink", name) for name in sinks]
        if not models or any(key not in self._known for key in keys):
            return "invalid_configuration"
        return "unresolved_host" if any(self._known[key].verdict == "unknown" for key in keys) else None

    # --- pixels -------------------------------------------------------------------------------------------

    def frames_reach(self, camera: str, rules: Iterable[RuleVerdict]) -> Reach:
        """Return how far a camera's pixels can go; where it is not known, how far they are let."""
        bound = nearest(self._limit, self._config.cameras[camera].leaves)
        running = [rule for rule in rules if rule.camera == camera and rule.runs]
        keys = [key for rule in running for key in self._picture_takers(rule.models, rule.sinks)]
        needs = [self._needs(key) for key in keys]
        return farthest(bound if need == "unknown" else need for need in needs)

    def _needs(self, key: Key) -> Needs:
        return self._known[key].needs if key in self._known else "unknown"

    def _picture_takers(self, models: Iterable[str], sinks: Iterable[str]) -> list[Key]:
        keys = [key for name in models for key in model_keys(name, self._config)]
        known = self._config.sinks
        return keys + [("sink", name) for name in sinks if name in known and carries_pictures(known[name])]


_FINE = (None, "")
_DOUBT = "not all that it needs could be judged"


def _model_limits(config: Config, rules: Iterable[RuleVerdict]) -> dict[str, Reach]:
    limits: dict[str, Reach] = {}
    for rule in rules:
        for model in rule.models if rule.runs else ():
            limits[model] = nearest(limits.get(model, "internet"), config.cameras[rule.camera].leaves)
    return limits
