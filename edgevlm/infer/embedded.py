"""The backend that needs no server: RapidOCR on the box, for the task `ocr`.

The models are files inside the wheel and are named by their paths, since an engine that is left to find them
itself downloads what it misses. Engine and pictures live in threads of one executor; each thread has an
engine of its own and uses one core, so that reading text never starves capture.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import queue
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevlm.errors import ConfigError, ModelRefused, ModelTimeout, PictureRejected
from edgevlm.infer.backend import Completion, Prompt
from edgevlm.infer.capabilities import abilities_for
from edgevlm.infer.config import EmbeddedConfig
from edgevlm.infer.layout import Piece, mean_score, reading_order
from edgevlm.infer.prompt import NO_TEXT
from edgevlm.records import Picture, Usage
from edgevlm.runtime.clock import Clock, SystemClock

MAX_ASPECT = 3
"""The engine scales the short side up to 736 pixels: a strip of 10 by 2000 would become 736 by 147200 and
take 14 GB. So a longer picture is padded to this aspect."""


class EmbeddedBackend:
    """RapidOCR in its own threads; used on the event loop."""

    type: str = "embedded"

    def __init__(self, name: str, config: EmbeddedConfig, *, clock: Clock | None = None) -> None:
        self.name = name
        self.model: str = config.model
        self.max_concurrent_requests = config.max_concurrent_requests
        self.abilities = abilities_for(config)
        self.thinks = False
        self._timeout_secs = config.timeout_secs
        self._clock = SystemClock() if clock is None else clock
        self._engines: queue.SimpleQueue[_Engine] = queue.SimpleQueue()
        self._executor = ThreadPoolExecutor(config.max_concurrent_requests, "edgevlm-embedded")

    async def open(self) -> None:
        """Load the models.

        Raises:
            ConfigError: the extra `ocr` is not installed.

        """
        for _ in range(self.max_concurrent_requests):
            engine = await asyncio.get_running_loop().run_in_executor(self._executor, _Engine, self.name)
            self._engines.put(engine)

    async def close(self) -> None:
        """Wait for a picture that is being read, and end the threads."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    def tasks(self) -> frozenset[str]:
        """Return the one task that it can do."""
        return frozenset({"ocr"})

    async def ask(self, prompt: Prompt, pictures: Sequence[Picture], *, timeout_secs: float) -> Completion:
        """Read the text in the pictures; the prompt's words are of no use to this engine."""
        if prompt.task != "ocr":
            raise ModelRefused(f"the embedded engine can do the task ocr only, not {prompt.task}")
        limit_secs = min(timeout_secs, self._timeout_secs)
        started_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(limit_secs):
                pages = await self._read(pictures)
        except TimeoutError:
            raise ModelTimeout(f"the picture was not read within {limit_secs:.3g} s") from None
        return Completion(
            text="\n".join(line for page in pages for line in reading_order(page)) or NO_TEXT,
            finish_reason="stop",
            usage=Usage(latency_ms=(self._clock.monotonic_ns() - started_ns) / 1e6),
            model=self.model,
            confidence=mean_score([piece for page in pages for piece in page]),
        )

    async def _read(self, pictures: Sequence[Picture]) -> list[list[Piece]]:
        loop = asyncio.get_running_loop()
        return [
            await loop.run_in_executor(self._executor, self._read_picture, picture) for picture in pictures
        ]

    def _read_picture(self, picture: Picture) -> list[Piece]:
        engine = self._engines.get()
        try:
            return engine.read(picture.jpeg)
        finally:
            self._engines.put(engine)


class _Engine:
    """One set of loaded models; used by one thread at a time."""

    def __init__(self, name: str) -> None:
        try:
            os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime 1.31 else reports its use over HTTPS
            rapidocr = importlib.import_module("rapidocr")
            engine = importlib.import_module("rapidocr.inference_engine.onnxruntime.main")
        except ImportError as error:
            raise ConfigError(
                f"model {name}: the embedded engine is not installed ({error.name} is missing): "
                "pip install 'edgevlm[ocr]'"
            ) from error
        _send_logs_to_ours()
        self._failures: tuple[type[Exception], ...] = (engine.ONNXRuntimeError, cv2.error)
        models = Path(rapidocr.__path__[0]) / "models"
        self._ocr: Callable[[Any], Any] = rapidocr.RapidOCR(params=_parameters(name, models))
        self.read(_sample())  # the first text seen loads the last model

    def read(self, jpeg: bytes) -> list[Piece]:
        """Return the pieces of text in a picture."""
        try:
            picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                raise PictureRejected("the picture cannot be decoded")
            return _pieces(self._ocr(_padded(picture)))
        except self._failures as error:
            raise PictureRejected(f"the engine cannot read this picture ({type(error).__name__})") from error


def _parameters(name: str, directory: Path) -> dict[str, Any]:
    models = {part: sorted(directory.glob(f"*_{part.lower()}_*.onnx")) for part in ("Det", "Cls", "Rec")}
    if not all(models.values()):
        raise ConfigError(f"model {name}: rapidocr has no models in {directory}: install it again")
    return {
        "Global.log_level": "error",
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        **{f"{part}.model_path": str(paths[0]) for part, paths in models.items()},
    }


def _send_logs_to_ours() -> None:
    """Take away the engine's own coloured lines on stderr: what it has to say goes where our logs go."""
    engine = logging.getLogger("RapidOCR")
    engine.handlers.clear()
    engine.propagate = True


def _padded(picture: NDArray[Any]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    down = max(0, -(-width // MAX_ASPECT) - height)
    right = max(0, -(-height // MAX_ASPECT) - width)
    if not down and not right:
        return picture
    return cv2.copyMakeBorder(picture, 0, down, 0, right, cv2.BORDER_CONSTANT)


def _pieces(found: Any) -> list[Piece]:
    if found.txts is None or found.boxes is None:
        return []
    found_texts = [
        unicodedata.normalize("NFKC", text).strip() for text in found.txts
    ]  # it mixes in wide letters
    return [
        Piece(text, float(score), *box.min(axis=0).tolist(), *box.max(axis=0).tolist())
        for text, score, box in zip(found_texts, found.scores, found.boxes, strict=True)
        if text
    ]


def _sample() -> bytes:
    picture = np.full((64, 160, 3), 255, np.uint8)
    cv2.putText(picture, "4711", (20, 48), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 3)
    return cv2.imencode(".jpg", picture)[1].tobytes()
