"""`edgevlm try` and `edgevlm demo` as a new user meets them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

from edgevlm.cli import app
from edgevlm.commands.demo import fresh_directory
from edgevlm.config.load import load
from edgevlm.errors import EdgevlmError
from edgevlm.publish.result import result_schema
from tests.servers.edgevlm import Edgevlm, edgevlm
from tests.servers.rtsp import RealRtspServer
from tests.servers.vlm import Asked, Reply, VlmServer, say, silence, status


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


NOBODY = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("none.png", "?"), 78, "none.png: no such file"),
        (("a.png", "--task", "classification"), 2, "--task classification needs --classes"),
        (("a.png", "--task", "structured-answering"), 2, "structured-answering needs --output-structure"),
        (("a.png", "--answers", "yes,no"), 2, "--task visual-question-answering needs a QUESTION"),
        (("a.png", "--task", "caption", "--classes", "a,b"), 2, "--classes does not go with --task caption"),
        (
            ("a.png", "--output-structure", '{"x": {"type": "int"}}'),
            2,
            "--output-structure: x.type: 'int' is not known here; did you mean integer?",
        ),
        (("a.png", "?", "--save", "absent/x.yaml"), 2, "there is no folder absent"),
        (("a.png", "?", "--save", "a.png/x.yaml"), 2, "there is no folder a.png"),
        (("a.png", "?", "--base-url", "127.0.0.1:9/v1"), 2, "--base-url 127.0.0.1:9/v1: no http:// in front"),
        (("a.png", "?", "--base-url", "http:///v1"), 2, "must be an http:// or https:// URL with a host"),
        (("a.png", "?", "--base-url", NOBODY), 1, f"nothing answers at {NOBODY}: connection refused"),
        (("a.png", "?", "--base-url", NOBODY, "--model", "m"), 1, f"nothing answers at {NOBODY}"),
        (("rtsp://", "--base-url", NOBODY), 1, f"nothing answers at {NOBODY}"),
    ],
)
def test_try_says_what_is_wrong_before_it_asks(
    arguments: tuple[str, ...], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _picture(tmp_path / "a.png")
    result = CliRunner().invoke(app, ["try", *arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert "edgevlm-try-" not in result.stderr


async def test_try_names_no_file_that_the_user_did_not_write(vlm: VlmServer, tmp_path: Path) -> None:
    model = ("--base-url", vlm.base_url, "--model", "stub")
    code, running = await _finished("try", "rtsp://", *model, tmp_path=tmp_path)
    assert code == 78
    assert running.lines[-1].startswith("cameras.camera.source.url: must be an rtsp:// or rtsps:// URL")


async def test_try_tells_when_what_worked_cannot_be_saved(vlm: VlmServer, tmp_path: Path) -> None:
    vlm.otherwise = say('{"answer": "yes"}')
    arguments = ("try", str(_picture(tmp_path / "a.png")), "?", "--base-url", vlm.base_url, "--model", "stub")
    saved = tmp_path / ("x" * 300)
    code, running = await _finished(*arguments, "--save", str(saved), tmp_path=tmp_path)
    assert code == 1
    assert running.out.decode().strip()
    assert running.lines[-1] == f"{saved} cannot be saved: file name too long"


async def test_try_never_writes_over_a_password_file(tmp_path: Path) -> None:
    precious = tmp_path / "new.camera-password"
    precious.write_text("precious")
    arguments = ("try", "rtsp://me:secret@127.0.0.1:1/x", "?", "--save", str(tmp_path / "new.yaml"))
    code, running = await _finished(*arguments, tmp_path=tmp_path)
    assert code == 2
    assert running.lines == [f"{precious} is there already: name another file to --save"]
    assert precious.read_text() == "precious"


async def test_try_tells_the_servers_words_from_the_models(vlm: VlmServer, tmp_path: Path) -> None:
    vlm.otherwise = status(401, {"error": {"message": "log in first"}})
    arguments = ("try", str(_picture(tmp_path / "a.png")), "?", "--base-url", vlm.base_url, "--model", "stub")
    code, running = await _finished(*arguments, tmp_path=tmp_path)
    assert code == 1
    assert "\nthe server said: " in running.out.decode()
    assert running.lines[-1] == "visual-question-answering: error"
    vlm.otherwise = say("I would rather not choose")
    code, running = await _finished(*arguments, "--answers", "yes,no", tmp_path=tmp_path)
    assert code == 1
    assert "\nthe model said: I would rather not choose" in running.out.decode()
    assert "error in " in running.lines[-1]


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
    assert "loading the OCR model …" in running.lines
    (run,) = (tmp_path / "edgevlm-demo").iterdir()
    load(run / "edgevlm.yaml")
    text = (run / "edgevlm.yaml").read_text()
    assert "put in your own cameras" in text.splitlines()[1]
    assert "&" not in text


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


async def test_the_demo_keeps_what_is_there_and_fails_when_all_answers_are_errors(
    vlm: VlmServer, tmp_path: Path
) -> None:
    vlm.otherwise = status(401, {"error": {"message": "log in first"}})
    kept = tmp_path / "edgevlm-demo"
    kept.mkdir()
    (kept / "edgevlm.yaml").write_text("mine")
    arguments = ("demo", "--seconds", "4", "--base-url", vlm.base_url, "--model", "stub")
    async with edgevlm(*arguments, state=tmp_path / "state", cwd=tmp_path) as running:
        assert await running.process.wait() == 1
    assert (kept / "edgevlm.yaml").read_text() == "mine"
    summary = running.out.decode().splitlines()[-1]
    assert not summary.startswith("0 answers")
    directory = summary.rpartition("files in ")[2]
    assert [path for path in kept.glob("*/*/*.jsonl") if str(path.parent) == directory]


async def test_the_demo_tells_what_became_of_questions_without_an_answer(
    vlm: VlmServer, tmp_path: Path
) -> None:
    vlm.otherwise = silence()
    arguments = ("demo", "--seconds", "4", "--base-url", vlm.base_url, "--model", "stub")
    async with edgevlm(*arguments, state=tmp_path / "state", cwd=tmp_path) as running:
        assert await running.process.wait() == 1
    (told,) = [line for line in running.lines if line.startswith("questions without an answer: ")]
    asked = int(running.out.decode().split()[-5])
    assert sum(int(word) for word in told.split() if word.isdigit()) == asked
    assert "cut off by the end of the demo" in told


def test_the_demo_starts_nothing_for_a_server_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo", "--base-url", NOBODY, "--model", "m"])
    assert (result.exit_code, result.stderr) == (1, f"nothing answers at {NOBODY}: connection refused\n")
    result = CliRunner().invoke(app, ["demo", "--base-url", "127.0.0.1:9/v1"])
    assert (result.exit_code, result.stderr) == (2, "--base-url 127.0.0.1:9/v1: no http:// in front\n")
    assert list(tmp_path.iterdir()) == []


def test_each_demo_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len({fresh_directory() for _ in range(5)}) == 5
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("edgevlm-demo").write_text("a file")
    with pytest.raises(EdgevlmError, match="no folder can be made for the demo: edgevlm-demo: file exists"):
        fresh_directory()


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


async def test_ask_puts_another_question_of_the_users_to_a_rule(vlm: VlmServer, tmp_path: Path) -> None:
    vlm.otherwise = say('{"answer": "no"}')
    config = _models(vlm, tmp_path / "edgevlm.yaml", _picture(tmp_path / "a.png"))
    arguments = ("ask", "-c", str(config), "--rule", "yard/gate", "--prompt", "Is the lamp lit?")
    code, running = await _finished(*arguments, tmp_path=tmp_path)
    assert (code, json.loads(running.out)["value"]) == (0, "no")
    assert "Is the lamp lit?" in vlm.asked[0].text
    assert "Is it open?" not in vlm.asked[0].text


async def test_ask_says_of_a_file_that_is_no_picture_that_it_is_none(vlm: VlmServer, tmp_path: Path) -> None:
    config = _models(vlm, tmp_path / "edgevlm.yaml", _picture(tmp_path / "a.png"))
    arguments = ("ask", "-c", str(config), "--task", "caption", "--image", str(config))
    code, running = await _finished(*arguments, tmp_path=tmp_path)
    document = json.loads(running.out)
    jsonschema.validate(document, result_schema())
    error = document["error"]
    assert (code, error["code"], error["retryable"]) == (1, "rejected_picture", False)
    assert error["message"].startswith(f"{config} is not a picture that can be read")


def test_ask_says_what_is_missing(vlm: VlmServer, tmp_path: Path) -> None:
    config = _models(vlm, tmp_path / "edgevlm.yaml", _picture(tmp_path / "a.png"))
    for arguments, words in (
        (("--rule", "yard/none"), "yard/gate"),
        (("--task", "classification", "--image", str(tmp_path / "a.png")), "classification needs --classes"),
        (("--rule", "yard/gate", "--model", "stub"), "--model does not go with --rule"),
        (("--rule", "yard/gate", "--task", "caption"), "--task does not go with --rule"),
        (("--rule", "yard/gate", "--classes", "a,b"), "--classes does not go with --rule"),
        (("--rule", "yard/gate", "--answers", "a,b"), "--answers does not go with --rule"),
        (("--rule", "yard/gate", "--output-structure", "{}"), "--output-structure does not go with --rule"),
        (("--rule", "yard/gate", "--prompt", "Is {it} open?"), "--prompt: holds {it}, which is no variable"),
        (("--task", "caption"), "--image"),
        ((), "--rule"),
    ):
        result = CliRunner().invoke(app, ["ask", "-c", str(config), *arguments])
        assert result.exit_code == 2, result.stderr
        assert words in result.stderr


async def test_ask_tells_a_dead_camera_as_an_error_of_capture(vlm: VlmServer, tmp_path: Path) -> None:
    config = _models(vlm, tmp_path / "edgevlm.yaml", _picture(tmp_path / "a.png"))
    text = config.read_text()
    start, end = text.index("{type: image"), text.index("    rules:")
    config.write_text(text[:start] + '{type: rtsp, url: "rtsp://127.0.0.1:1/x"}\n' + text[end:])
    code, running = await _finished("ask", "-c", str(config), "--rule", "yard/gate", tmp_path=tmp_path)
    document = json.loads(running.out)
    assert (code, document["error"]["stage"], document["error"]["code"]) == (1, "capture", "unreachable")


async def test_ask_shows_the_model_what_the_rule_would_show_it(
    vlm: VlmServer, clip: Path, tmp_path: Path
) -> None:
    """A crop may keep a part of the picture from the model, so it holds here as well; and all frames go."""
    vlm.otherwise = say('{"answer": "yes"}')
    config = _models(vlm, tmp_path / "edgevlm.yaml", clip)
    text = config.read_text().replace("type: image", "type: file, loop: true")
    shown = (
        "        picture: {crop: [0, 0, 0.5, 0.5], margin: 0}\n        frames: {count: 3, before_secs: 1}\n"
    )
    config.write_text(text.rstrip() + "\n" + shown)
    code, running = await _finished("ask", "-c", str(config), "--rule", "yard/gate", tmp_path=tmp_path)
    document = json.loads(running.out)
    assert (code, document["value"]) == (0, "yes")
    assert [(frame["width"], frame["height"]) for frame in document["frames"]] == [(320, 180)] * 3
    assert len(vlm.asked[0].pictures) == 3
    picture = _picture(tmp_path / "still.png")
    arguments = ("ask", "-c", str(config), "--rule", "yard/gate", "--image", str(picture))
    code, running = await _finished(*arguments, tmp_path=tmp_path)
    frames = json.loads(running.out)["frames"]
    assert [(frame["width"], frame["height"]) for frame in frames] == [(320, 180)]
