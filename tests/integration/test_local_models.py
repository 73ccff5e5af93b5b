"""`try` finds a model server on this machine by itself."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevlm.commands.local_models import USUAL_PORTS
from tests.servers.edgevlm import edgevlm
from tests.servers.vlm import VlmServer, say


def _free_usual_port() -> int:
    for port in USUAL_PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip(f"all of the ports {sorted(USUAL_PORTS)} are in use")


async def test_a_server_on_a_usual_port_is_found_and_named(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    assert cv2.imwrite(str(picture), np.full((120, 160, 3), 200, np.uint8))
    vlm = VlmServer()
    vlm.port = _free_usual_port()
    vlm.models = {"object": "list", "data": [{"id": "tiny-vlm", "object": "model"}]}
    vlm.otherwise = say('{"answer": "yes"}')
    async with (
        vlm,
        edgevlm(
            "try", str(picture), "Is it grey?", "--answers", "yes,no", "--json", state=tmp_path / "state"
        ) as running,
    ):
        code = await running.process.wait()
    document = json.loads(running.out)
    assert (code, document["value"], document["model"]["model"]) == (0, "yes", "tiny-vlm")
    assert any(f"127.0.0.1:{vlm.port}" in line and "tiny-vlm" in line for line in running.lines)
