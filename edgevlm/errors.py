"""Every error that edgevlm raises on purpose.

    EdgevlmError
    ├── ConfigError            the YAML file cannot be used (exit 78); holds every mistake at once
    ├── StateError             the state directory cannot be used, or is in use
    ├── CaptureError           a camera or its capture host; names the camera
    │   ├── CameraUnreachable  no connection, no stream, silence: tried again for ever
    │   ├── CameraUnauthorized the camera refuses our login: tried again slowly
    │   ├── SourceEnded        a recording has come to its end: not tried again
    │   ├── NoFrame            nothing to show yet, or the wanted instant has left the ring
    │   └── HostLost           the capture host died or hangs; its cameras are being moved
    ├── LinkError              a message over the wall that does not follow the protocol
    ├── InferError             a question without an answer; carries `code`, `retryable`, `raw`
    │   ├── ModelUnreachable   no connection to the model server            (retryable)
    │   ├── ModelOverloaded    the server is busy or limits us              (retryable)
    │   ├── ModelTimeout       no whole answer in one attempt's time        (retryable)
    │   ├── DeadlineExceeded   no answer in all attempts' time              (permanent)
    │   ├── ModelRefused       configuration: key, model name, parameter    (permanent)
    │   ├── QuotaExceeded      the account has no money or quota left       (permanent)
    │   ├── PictureRejected    the server cannot use this picture           (permanent)
    │   ├── ContentFiltered    the provider's filter refused                (permanent)
    │   ├── TooLarge           the answer or the picture exceeds a bound    (permanent)
    │   └── BadAnswer          text came back, but not an answer            (permanent)
    │       └── EmptyAnswer    not even text came back
    └── PublishError           a message could not be handed over; names the sink
        ├── SinkUnreachable    try again later                              (retryable)
        └── SinkRejected       this message will never be accepted          (permanent)

Libraries' own exceptions (`av`, `aiohttp`, `paho`) never leave the module that calls the library.
"""

from __future__ import annotations

from typing import ClassVar, Literal

ErrorCode = Literal[
    "invalid_answer",
    "empty_answer",
    "timeout",
    "deadline",
    "quota",
    "config",
    "rejected_picture",
    "filtered",
    "unreachable",
    "overloaded",
    "too_large",
]
Stage = Literal["capture", "choose", "infer", "publish"]


class EdgevlmError(Exception):
    """Base of everything below."""


class ConfigError(EdgevlmError):
    """A configuration that cannot be used; `str()` is one line a mistake."""


class StateError(EdgevlmError):
    """The state directory cannot be used; the message says why and what to do."""


class CaptureError(EdgevlmError):
    """Something between a camera and a picture went wrong.

    Attributes:
        camera: the camera's name.
        kind: a short stable word for counters and topics.

    """

    kind: ClassVar[str] = "capture"

    def __init__(self, camera: str, message: str) -> None:
        super().__init__(f"camera {camera}: {message}")
        self.camera = camera
        self.message = message


class CameraUnreachable(CaptureError):
    """No connection, no stream in it, or silence."""

    kind = "unreachable"


class CameraUnauthorized(CaptureError):
    """The camera refuses the user name or the password."""

    kind = "unauthorized"


class SourceEnded(CaptureError):
    """A recording that does not loop has come to its end."""

    kind = "ended"


class NoFrame(CaptureError):
    """There is no decodable frame at the wanted instant."""

    kind = "no_frame"


class HostLost(CaptureError):
    """The camera's capture host died or hangs."""

    kind = "host_lost"


class LinkError(EdgevlmError):
    """A message over the wall does not follow the protocol; the link cannot be used any more."""


class InferError(EdgevlmError):
    """A question that got no answer.

    Attributes:
        code: the closed vocabulary of the result's `error.code`.
        retryable: whether another attempt of the same request can help.
        raw: what the server or the model said, bounded; kept for the result's `raw`.
        retry_after_secs: the server's own wish, when it told one.

    """

    code: ClassVar[ErrorCode] = "unreachable"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, raw: str | None = None, retry_after_secs: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.raw = raw
        self.retry_after_secs = retry_after_secs


class ModelUnreachable(InferError):
    """No connection to the model server, or it broke off."""

    code: ClassVar[ErrorCode] = "unreachable"
    retryable = True


class ModelOverloaded(InferError):
    """The server is busy, loading, or limits our rate."""

    code: ClassVar[ErrorCode] = "overloaded"
    retryable = True


class ModelTimeout(InferError):
    """No whole answer within one attempt's timeout."""

    code: ClassVar[ErrorCode] = "timeout"
    retryable = True


class DeadlineExceeded(InferError):
    """The request's absolute limit over all attempts has passed."""

    code: ClassVar[ErrorCode] = "deadline"


class ModelRefused(InferError):
    """The server refuses the request as it is configured: key, model name, parameter."""

    code: ClassVar[ErrorCode] = "config"


class QuotaExceeded(InferError):
    """The account has no money or quota left."""

    code: ClassVar[ErrorCode] = "quota"


class PictureRejected(InferError):
    """The server cannot use this picture."""

    code: ClassVar[ErrorCode] = "rejected_picture"


class ContentFiltered(InferError):
    """The provider's content filter refused the question or the answer."""

    code: ClassVar[ErrorCode] = "filtered"


class TooLarge(InferError):
    """The answer or the request exceeds a size bound."""

    code: ClassVar[ErrorCode] = "too_large"


class BadAnswer(InferError):
    """A completion that is not an answer: unparsable, outside the schema, or empty."""

    code: ClassVar[ErrorCode] = "invalid_answer"


class EmptyAnswer(BadAnswer):
    """A completion without visible text."""

    code: ClassVar[ErrorCode] = "empty_answer"


class PublishError(EdgevlmError):
    """A message could not be handed to a sink.

    Attributes:
        sink: the sink's name in the configuration.

    """

    def __init__(self, sink: str, message: str) -> None:
        super().__init__(f"sink {sink}: {message}")
        self.sink = sink
        self.message = message


class SinkUnreachable(PublishError):
    """The receiver is away or did not confirm; try again later."""


class SinkRejected(PublishError):
    """The receiver will never accept this message."""
