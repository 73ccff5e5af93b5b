"""`edgevlm try` and `edgevlm demo` as a new user meets them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import cv2
import jsonschema
import numpy as np

from edgevlm.config.load import load
from edgevlm.publish.result import result_schema
from tests.servers.edgevlm import Edgevlm, edgevlm
from tests.servers.rtsp import RealRtspServer
from tests.servers.vlm import Asked, Reply, VlmServer, say


async def _finished(*arguments: str, tmp_path: Path) -> tuple[int, Edgevlm]:
    async with edgevlm(*arguments, state=tmp_path / "state") as running:
        code = await running.process.wait()
    return code, running


def _picture(path: Path, text: str = "EXIT 42") -> Path:
    canvas = np.full((360, 640, 3), 255, np.uint8)
    cv2.putText(canvas, text, (60, 200), cv2.FONT_HERSHEY_SIMPLEX, 3, (0, 0, 0), 6)
    assert cv2.imwrite(str(path), canvas)
    return path


async def test_try_answers_a_question_about_a_picture(vlm: VlmServer, tmp_path: Path) -> None:
    vlm.otherwise = say('{"answer": "yes"}')
    picture = _picture(tmp_path / "gate.png")
    arguments = ("try", str(picture), "Is the gate open?", "--answers", "yes,no", "--base-url", vlm.base_url)
    code, running = await _finished(*arguments, "--model", "stub", tmp_path=tmp_path)
    assert code == 0
    assert running.out.decode().startswith("yes")
    assert any("asking stub" in line for line in running.lines)


async def test_try_prints_the_result_document_and_exits_1_for_an_error(
    vlm: VlmServer, tmp_path: Path
) -> None:
    vlm.otherwise = say("certainly a truck")
    arguments = ("try", str(_picture(tmp_path / "a.png")), "--classes", "van,empty", "--json")
    code, running = await _finished(
        *arguments, "--base-url", vlm.base_url, "--model", "stub", tmp_path=tmp_path
    )
    document = json.loads(running.out)
    jsonschema.validate(document, result_schema())
    assert (code, document["outcome"], document["task"]) == (1, "error", "classification")


async def test_try_saves_the_rule_that_worked_and_keeps_the_password_apart(
    vlm: VlmServer, rtsp_server: RealRtspServer, tmp_path: Path
) -> None:
    vlm.otherwise = say('{"answer": "no"}')
    saved = tmp_path / "new.yaml"
    arguments = ("try", rtsp_server.url("/locked", login=True), "Is it open?", "--answers", "yes,no")
    code, _ = await _finished(
        *arguments, "--base-url", vlm.base_url, "--model", "stub", "--save", str(saved), tmp_path=tmp_path
    )
    assert code == 0
    loaded = load(saved)
    assert loaded.warnings == ()
    source = loaded.config.cameras["camera"].source
    assert source.type == "rtsp"
    assert source.password is not None
    assert source.password.reveal() == rtsp_server.password
    assert rtsp_server.password not in saved.read_text()
    assert stat.S_IMODE((tmp_path / "new.camera-password").stat().st_mode) == 0o600
    again, running = await _finished(*arguments, "--save", str(saved), tmp_path=tmp_path)
    assert again == 2
    assert "is there already" in running.lines[0]


async def test_try_says_why_a_source_gives_nothing(vlm: VlmServer, tmp_path: Path) -> None:
    model = ("--base-url", vlm.base_url, "--model", "stub")
    code, running = await _finished("try", "rtsp://127.0.0.1:1/x", "?", *model, tmp_path=tmp_path)
    assert code == 1
    assert "Connection refused" in running.out.decode()
    code, running = await _finished("try", str(tmp_path / "none.png"), "?", *model, tmp_path=tmp_path)
    assert code == 78
    assert "no such file" in running.lines[-1]
    assert "Traceback" not in "\n".join(running.lines)


async def test_try_reads_text_without_any_model(tmp_path: Path) -> None:
    code, running = await _finished(
        "try", str(_picture(tmp_path / "a.jpg")), "--task", "ocr", tmp_path=tmp_path
    )
    assert code == 0, running.lines
    assert "EXIT" in running.out.decode()


def _check_files(directory: Path, answers: int) -> None:
    rows = [json.loads(row) for path in directory.glob("*.jsonl") for row in path.read_text().splitlines()]
    assert len(rows) == answers
    for row in rows:
        jsonschema.validate(row, result_schema())
        assert (directory / row["frames"][0]["evidence"]).exists()


async def test_the_demo_answers_and_ends_by_itself(tmp_path: Path) -> None:
    async with edgevlm("demo", "--seconds", "12", state=tmp_path / "state", cwd=tmp_path) as running:
        assert await running.process.wait() == 0, running.lines
    *answers, summary = running.out.decode().splitlines()
    assert any(line.startswith("press/gauge ") and "bar" in line for line in answers)
    assert any(line.startswith("dock/label ") and "PARCEL" in line for line in answers)
    assert summary.startswith(f"{len(answers)} answers, ")
    _check_files(Path(summary.rpartition("files in ")[2]), len(answers))
    load(tmp_path / "edgevlm-demo" / "edgevlm.yaml")


async def test_the_demo_asks_the_users_server(vlm: VlmServer, tmp_path: Path) -> None:
    def reply(asked: Asked) -> Reply:
        gauge = "pressure_bar" in asked.text
        return say('{"pressure_bar": 9.5, "over_limit": false}' if gauge else '{"class_name": "person"}')

    vlm.otherwise = reply
    arguments = ("demo", "--seconds", "10", "--base-url", vlm.base_url, "--model", "stub")
    async with edgevlm(*arguments, state=tmp_path / "state", cwd=tmp_path) as running:
        assert await running.process.wait() == 0, running.lines
    lines = running.out.decode().splitlines()
    assert any(line.startswith('press/gauge {"pressure_bar": 9.5') for line in lines)
    assert any(line.startswith("dock/passing person") for line in lines)


def _models(vlm: VlmServer, path: Path, picture: Path) -> Path:
    path.write_text(
        f"""
models: {{stub: {{type: openai-compatible, base_url: "{vlm.base_url}", model: stub}}}}
cameras:
  yard:
    source: {{type: image, path: "{picture}"}}
    rules:
      gate:
        trigger: {{type: interval, every_secs: 60}}
        task: {{type: visual-question-answering, prompt: "Is it open?", answers: [yes, no]}}
"""
    )
    return path


async def test_ask_puts_a_rules_question_and_prints_the_result(vlm: VlmServer, tmp_path: Path) -> None:
    vlm.otherwise = say('{"answer": "unknown"}')
    config = _models(vlm, tmp_path / "edgevlm.yaml", _picture(tmp_path / "a.png"))
    code, running = await _finished("ask", "-c", str(config), "--rule", "yard/gate", tmp_path=tmp_path)
    document = json.loads(running.out)
    jsonschema.validate(document, result_schema())
    assert (code, document["outcome"], document["camera"], document["rule"]) == (0, "unknown", "yard", "gate")
    assert not (tmp_path / "state").exists()


async def test_ask_takes_a_task_and_several_pictures(vlm: VlmServer, tmp_path: Path) -> None:
    vlm.otherwise = say('{"class_name": "van", "confidence": 0.8}')
    one, two = _picture(tmp_path / "a.png"), _picture(tmp_path / "b.jpg", "B")
    config = _models(vlm, tmp_path / "edgevlm.yaml", one)
    task = ("--task", "classification", "--classes", "truck,van", "--image", str(one), "--image", str(two))
    code, running = await _finished("ask", "-c", str(config), *task, tmp_path=tmp_path)
    document = json.loads(running.out)
    assert (code, document["value"], len(document["frames"])) == (0, "van", 2)
    assert len(vlm.asked[0].pictures) == 2


async def test_ask_says_what_is_missing(vlm: VlmServer, tmp_path: Path) -> None:
    config = _models(vlm, tmp_path / "edgevlm.yaml", _picture(tmp_path / "a.png"))
    for arguments, words in (
        (("--rule", "yard/none"), "yard/gate"),
        (("--task", "classification", "--image", str(tmp_path / "a.png")), "classes"),
        (("--task", "caption"), "--image"),
        ((), "--rule"),
    ):
        code, running = await _finished("ask", "-c", str(config), *arguments, tmp_path=tmp_path)
        assert code == 2, running.lines
        assert words in "\n".join(running.lines)


async def test_ask_tells_a_dead_camera_as_an_error_of_capture(vlm: VlmServer, tmp_path: Path) -> None:
    config = _models(vlm, tmp_path / "edgevlm.yaml", _picture(tmp_path / "a.png"))
    text = config.read_text()
    start, end = text.index("{type: image"), text.index("    rules:")
    config.write_text(text[:start] + '{type: rtsp, url: "rtsp://127.0.0.1:1/x"}\n' + text[end:])
    code, running = await _finished("ask", "-c", str(config), "--rule", "yard/gate", tmp_path=tmp_path)
    document = json.loads(running.out)
    assert (code, document["error"]["stage"], document["error"]["code"]) == (1, "capture", "unreachable")
