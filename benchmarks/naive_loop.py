"""The baseline: what one writes in an afternoon instead, and writes well.

    python -m benchmarks.naive_loop      (see contestant.py)

OpenCV reads each camera in a thread of its own and decodes every frame, so that the newest is at hand; a
question is resize, JPEG at quality 90, base64, a POST on a connection that is kept, `json.loads`, and one
publish at QoS 1 that is waited for. No reconnecting, no retries, no validation, no retained state, no limits.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import cv2
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.clips import FPS
from benchmarks.contestant import ANSWERS, MAX_SIDE, QUESTION, SYSTEM, Beat, Job, Meter, tell

ANSWER_SECS = 30.0


class Reader(threading.Thread):
    """Decodes everything and keeps the newest frame."""

    def __init__(self, clip: str) -> None:
        super().__init__(daemon=True)
        self.frames = 0
        self._clip = clip
        self._newest: Any = None
        self._lock = threading.Lock()

    def run(self) -> None:
        """Read until the process ends, at the pace of a camera; from the start again at the end."""
        capture = cv2.VideoCapture(self._clip)
        due = time.monotonic()
        while True:
            good, frame = capture.read()
            if not good:
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                continue
            due += 1 / FPS  # a camera would make us wait just as long
            time.sleep(max(0.0, due - time.monotonic()))
            with self._lock:
                self._newest = frame
                self.frames += 1

    def newest(self) -> Any:
        """Return the newest frame, once there is one."""
        while True:
            with self._lock:
                if self._newest is not None:
                    return self._newest
            time.sleep(0.05)


class NaiveLoop:
    """All cameras, one model, one broker."""

    def __init__(self, job: Job) -> None:
        self.readers = [Reader(job.clip) for _ in range(job.cameras)]
        self._model = http.client.HTTPConnection("127.0.0.1", job.model_port, timeout=ANSWER_SECS)
        self._mqtt = Client(CallbackAPIVersion.VERSION2)
        self._mqtt.connect("127.0.0.1", job.broker_port)

    def start(self) -> None:
        """Begin to read, and wait until each camera shows something."""
        self._mqtt.loop_start()
        for reader in self.readers:
            reader.start()
        for reader in self.readers:
            reader.newest()

    def ask(self, meter: Meter) -> None:
        """Ask one question about the first camera and publish the answer."""
        meter.triggered()
        jpeg = _jpeg(self.readers[0].newest())
        meter.pictured()
        answer = self._answer(jpeg)
        message = {"camera": "camera-1", "answer": answer["answer"], "time": datetime.now(UTC).isoformat()}
        sent = self._mqtt.publish("naive/camera-1/gate", json.dumps(message), qos=1)
        sent.wait_for_publish(ANSWER_SECS)
        meter.confirmed()

    def _answer(self, jpeg: bytes) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        self._model.request("POST", "/v1/chat/completions", json.dumps(_request(jpeg)), headers)
        document = json.loads(self._model.getresponse().read())
        answer: dict[str, Any] = json.loads(document["choices"][0]["message"]["content"])
        return answer


def _jpeg(frame: Any) -> bytes:
    height, width = frame.shape[:2]
    scale = MAX_SIDE / max(height, width)
    small = cv2.resize(frame, (round(width * scale), round(height * scale)))
    good, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert good
    return bytes(jpeg)


def _request(jpeg: bytes) -> dict[str, Any]:
    text = f"{QUESTION} Answer with JSON: " + '{"answer": one of ' + json.dumps(ANSWERS) + "}"
    url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
    return {"model": "stub", "messages": messages, "max_tokens": 64, "temperature": 0}


def main() -> None:
    loop = NaiveLoop(Job.from_stdin())
    loop.start()
    tell("ready")
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "ask":
            meter, beat = Meter(), Beat()
            for _ in range(int(arguments[0])):
                time.sleep(beat.pause_secs())
                loop.ask(meter)
            tell(meter.asked)
        else:
            tell(sum(reader.frames for reader in loop.readers))
    os._exit(0)  # an orderly end aborts when it meets a reader within OpenCV


if __name__ == "__main__":
    main()
