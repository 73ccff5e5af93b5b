"""The repository as a whole: links, scripts, versions, and what must not be in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

import edgevlm

ROOT = Path(__file__).parents[1]
SCRIPTS = [
    ".ci/run",
    *(f"scripts/{p.name}" for p in sorted((ROOT / "scripts").iterdir()) if p.name[0] not in "._"),
]

PRIVATE = re.compile(
    # Written with brackets so that this file does not find itself.
    r"/w[o]rk/|/r[o]ot/|/h[o]me/(?!edgevlm\b)\w|/[U]sers/\w"  # somebody's machine
    r"|p[y]pi\.|p[y]thonhosted|n[p]mjs|extra-i[n]dex-url|--i[n]dex-url"  # where packages come from
    r"|shared/(?:d[e]sign|r[e]search|s[e]eds|m[o]dels)|\b(?:p[r]oduct|s[t]yle|l[i]braries|f[a]ults)\.md"
    r"|co-a[u]thored-by|C[l]aude\b|C[h]atGPT"
)
"""Private paths, package registries, notes that only we have, who or what typed it."""


@cache
def tracked() -> list[str]:
    """Return the files of the repository: what git knows and what it would be told to add."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for name in tracked():
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def anchors(markdown: str) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"(?m)^#+ +(.+?) *#*$", without_code(markdown, inline=False))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)
    return set(plain)


def without_code(markdown: str, *, inline: bool = True) -> str:
    text = re.sub(r"(?ms)^ *(```|~~~).*?^ *\1 *$", "", markdown)
    return re.sub(r"`[^`\n]*`", "", text) if inline else text


@pytest.mark.parametrize("page", [name for name in tracked() if name.endswith(".md")])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


def test_nothing_private_is_told() -> None:
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := PRIVATE.search(line))
    ]
    assert found == []


def test_no_marker_is_left_behind() -> None:
    markers = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b")
    found = [
        f"{name}:{n}"
        for name, text in texts()
        for n, line in enumerate(text.splitlines(), 1)
        if markers.search(line)
    ]
    assert found == []


def test_the_version_has_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert version("edgevlm") == edgevlm.__version__
    assert f"## {edgevlm.__version__}" in (ROOT / "docs/changelog.md").read_text()


def test_the_license_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert "END OF TERMS AND CONDITIONS" in text
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"


def test_importing_the_package_costs_nothing() -> None:
    program = "import sys; before = set(sys.modules); import edgevlm; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"edgevlm"}


def test_pinned_versions_hold_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.+!]+", line)] == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    names = {re.split(r"[\[<>=~! ]", line, maxsplit=1)[0].lower() for line in wanted} - {"edgevlm"}
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {name.replace("-", "_") for name in names} <= {name.replace("-", "_") for name in pinned}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_what_it_does(script: str) -> None:
    """At once, and without doing anything."""
    assert os.access(ROOT / script, os.X_OK)
    environ = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(
        [ROOT / script, "--help"], env=environ, capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_shell_scripts_are_sound() -> None:
    """By shellcheck where it is installed, else at least in their syntax."""
    shell = [
        name
        for name in [*SCRIPTS, "scripts/_env"]
        if "python" not in (ROOT / name).read_text().split("\n", 1)[0]
    ]
    command = ["shellcheck", "-x"] if shutil.which("shellcheck") else ["bash", "-n"]
    done = subprocess.run([*command, *shell], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
