"""The import rules, and where time, threads and words may be used, read from the source itself."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    {"errors"},
    {"records"},
    {"runtime"},
    {"capture", "choose", "infer", "publish"},
    {"config"},
    {"guard", "plan", "status"},
    {"pipeline"},
    {"orders"},
    {"daemon"},
    {"demo"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""Each may import what stands above it, and itself: never its neighbours, never what stands below."""

HOST = "edgevlm.capture.host"
HOST_MAY_IMPORT = {"av", "numpy"}

TIME_MODULES = {
    "edgevlm.runtime.clock",
    # capture hosts: threads that wait for cameras have no event loop and no tests that move the time
    "edgevlm.capture.file",
    "edgevlm.capture.host",
    "edgevlm.capture.image",
    "edgevlm.capture.runner",
}

THREAD_MODULES = {
    "edgevlm.capture.host": "sender, pictures, clips, encoder",
    "edgevlm.capture.runner": "one a camera",
    "edgevlm.infer.embedded": "a named executor: inference takes the processor for seconds",
    "edgevlm.publish.file": "a named executor: fsync takes its time",
    "edgevlm.publish.mqtt_network": "paho's one network thread",
    "edgevlm.publish.spool": "a named executor: one thread writes the spool",
    "edgevlm.publish.stdout": "a named executor: whoever reads us may be slow",
    "edgevlm.runtime.lookup": "daemon threads: a look-up may hang, and nothing must wait for it",
}

CONNECTING_MODULES = {
    "edgevlm.runtime.guarded_http": "asks the egress policy before each connection",
    "edgevlm.infer.wire": "connects by guarded_http",
    "edgevlm.capture.relay": "connects to addresses that the policy was asked about",
    "edgevlm.publish.mqtt_network": "connects to addresses that the policy was asked about",
    "edgevlm.capture.hosts": "a socket pair with a child process",
    "edgevlm.commands.local_models": "looks on 127.0.0.1 only",
}

BANNED_WORDS = re.compile(
    r"(?i)(?:\b|_)(?:utils?|helpers?|common|misc|const(?:ants)?|managers?|handlers?|processors?)\b"
)


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted((ROOT / "edgevlm").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(tree: ast.AST, *, executed: bool = False) -> Iterator[str]:
    """Yield what a module imports, as dotted names; `executed`: leave out `if TYPE_CHECKING:`."""
    if executed and isinstance(tree, ast.If) and ast.unparse(tree.test).endswith("TYPE_CHECKING"):
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        assert tree.level == 0, f"line {tree.lineno}: relative imports hide where things live"
        yield from (f"{tree.module}.{alias.name}" for alias in tree.names)
    for child in ast.iter_child_nodes(tree):
        yield from imports(child, executed=executed)


def layer(module: str) -> int:
    """Return the height of the layer that a module belongs to."""
    part = module.split(".")[1]
    heights = [height for height, names in enumerate(LAYERS) if part in names]
    assert heights, f"{module}: give `{part}` its place in LAYERS"
    return heights[0]


def ours(imported: str) -> str | None:
    """Return the module of ours that an imported name lies in, or None."""
    while imported not in modules():
        imported, dot, _ = imported.rpartition(".")
        if not dot:
            return None
    return imported


def test_each_layer_knows_only_those_before_it() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module != "edgevlm"
        for target in filter(None, map(ours, imports(tree)))
        if target != "edgevlm"
        and (layer(target) > layer(module) or layer(target) == layer(module))
        and target.split(".")[1] != module.split(".")[1]
    ]
    assert not wrong


def test_every_module_has_its_layer() -> None:
    assert all(layer(module) >= 0 for module in modules() if module != "edgevlm")


def test_only_commands_show_the_demo() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, tree in modules().items()
        for imported in imports(tree)
        if imported.startswith("edgevlm.demo") and module.split(".")[1:2] not in (["demo"], ["commands"])
    ]
    assert not wrong


def test_the_package_itself_imports_nothing() -> None:
    assert set(imports(modules()["edgevlm"])) <= {"__future__.annotations"}


@pytest.mark.skipif(HOST not in modules(), reason="there is no capture host yet")
def test_a_capture_host_stays_light() -> None:
    """A host is started for every few cameras: each library in it costs memory that many times."""
    reached, todo, foreign = set(), [HOST], set()
    while todo:
        module = todo.pop()
        if module in reached:
            continue
        reached.add(module)
        todo += [module.rpartition(".")[0]] if "." in module else []
        for imported in imports(modules()[module], executed=True):
            if target := ours(imported):
                todo.append(target)
            elif (top := imported.split(".")[0]) not in sys.stdlib_module_names:
                foreign.add(f"{module}: {top}")
    assert {line for line in foreign if line.split(": ")[1] not in HOST_MAY_IMPORT} == set()


def test_every_module_says_its_job() -> None:
    wrong = [
        module
        for module, tree in modules().items()
        if not re.search(r".{15,}[.:?]$", (ast.get_docstring(tree) or "").split("\n")[0])
    ]
    assert not wrong


def test_no_module_or_class_is_a_drawer() -> None:
    names = [
        f"{module}: {node.name}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    split = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
    assert [name for name in [*modules(), *names] if BANNED_WORDS.search(split.sub("_", name))] == []


def uses(found: Callable[[ast.AST], bool], allowed: set[str]) -> list[str]:
    """Return where, outside the allowed modules, something is found."""
    return [
        f"{module}:{node.lineno}"
        for module, tree in modules().items()
        if module not in allowed
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt | ast.expr) and found(node)
    ]


def test_time_is_read_in_one_place() -> None:
    """So that tests move it by hand; `asyncio.sleep(0)` only lets others run."""

    def reads_time(node: ast.AST) -> bool:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return any(name == "time" or name.startswith("time.") for name in imports(node))
        if not isinstance(node, ast.Call):
            return False
        called = ast.unparse(node.func)
        if called == "asyncio.sleep":
            return ast.unparse(node.args[0]) != "0"
        return bool(re.search(r"\b(?:date|datetime)\.(?:now|utcnow|today)$", called))

    assert uses(reads_time, TIME_MODULES) == []


def test_threads_are_few_and_known() -> None:
    def makes_threads(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and bool(
            re.search(r"\b(?:Thread|Timer|ThreadPoolExecutor|ThreadPool)$", ast.unparse(node.func))
        )

    assert uses(makes_threads, set(THREAD_MODULES)) == []


def test_connections_are_made_where_the_egress_policy_is_asked() -> None:
    """The audit hook would hold up others, too, but without a word that says which part of us it was."""

    def connects(node: ast.AST) -> bool:
        pattern = r"\b(?:ClientSession|TCPConnector|open_connection|create_connection|sock_connect|SMTP)$"
        return isinstance(node, ast.Call) and bool(re.search(pattern, ast.unparse(node.func)))

    demo = {module for module in modules() if module.startswith("edgevlm.demo")}
    assert uses(connects, set(CONNECTING_MODULES) | demo) == []


def test_the_lists_of_exceptions_are_true() -> None:
    """An exception that nobody needs any more must go, or it will be used by accident."""
    assert TIME_MODULES | set(THREAD_MODULES) | set(CONNECTING_MODULES) <= set(modules())
