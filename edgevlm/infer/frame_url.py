"""Pictures behind URLs, for models that fetch them: an S3-compatible bucket with short-lived signed URLs.

A picture lies in the bucket only while it is asked about: it is written before the question and deleted after
it, whatever came of it. All three requests are signed in their query, so that no secret is ever sent; what a
killed daemon leaves behind is for a lifecycle rule of the bucket.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
from yarl import URL

from edgevlm.errors import ConfigError, InferError, ModelOverloaded, ModelRefused, ModelUnreachable
from edgevlm.infer.config import S3FrameUrlConfig
from edgevlm.infer.wire import ModelServer
from edgevlm.records import Picture

DELETE_SECS = 10.0
"""Longest time for deleting what a question no longer needs."""

log = structlog.get_logger(stage="infer")


class FrameUrls(Protocol):
    """A place where a model server can fetch pictures."""

    async def open(self) -> None:
        """Prepare; nothing is sent."""

    async def close(self) -> None:
        """Release everything."""

    def offered(self, pictures: Sequence[Picture]) -> Any:
        """Return an async context that yields a URL for each picture; they are gone after it."""


class S3FrameUrls:
    """A bucket; used on the event loop."""

    def __init__(self, name: str, config: S3FrameUrlConfig, *, ca_file: str | None, connections: int) -> None:
        self._name = name
        self._config = config
        self._place = _Place(config)
        self._signer: _Signer | None = None
        self._server = ModelServer(
            f"{name}.frame_url", config.endpoint, api_key=None, ca_file=ca_file, connections=connections
        )

    async def open(self) -> None:
        """Load the signer.

        Raises:
            ConfigError: the extra `s3` is not installed.

        """
        self._signer = await asyncio.to_thread(_Signer, self._name, self._config)
        await self._server.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._server.close()

    @asynccontextmanager
    async def offered(self, pictures: Sequence[Picture]) -> AsyncIterator[list[str]]:
        """Put the pictures into the bucket and yield their URLs; delete them afterwards.

        Raises:
            InferError: the store is away or refuses.

        """
        keys = [f"{self._config.prefix}{secrets.token_urlsafe(24)}.jpg" for _ in pictures]
        try:
            for key, picture in zip(keys, pictures, strict=True):
                await self._request("PUT", key, picture.jpeg)
            yield [self._signed("GET", self._place.public(key)) for key in keys]
        finally:
            # A question that is cancelled must not leave its pictures behind.
            await asyncio.shield(asyncio.ensure_future(self._delete(keys)))

    async def _delete(self, keys: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(DELETE_SECS):
                for key in keys:
                    await self._request("DELETE", key)
        except (InferError, TimeoutError) as error:
            reason = error.message if isinstance(error, InferError) else f"no answer in {DELETE_SECS:g} s"
            log.warning("a picture could not be deleted from the bucket", model=self._name, reason=reason)

    async def _request(self, method: str, key: str, body: bytes | None = None) -> None:
        url = URL(self._signed(method, self._place.private(key)), encoded=True)
        async with self._server.exchange(method, url, body, "image/jpeg") as reply:
            said = await reply.head(4_000)
        if reply.status // 100 != 2:
            raise _refusal(reply.status, said)

    def _signed(self, method: str, url: str) -> str:
        if self._signer is None:
            raise RuntimeError(f"frame_url of {self._name} is used before it is open")
        return self._signer.sign(method, url)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where objects lie, seen from here and seen from the model server."""

    config: S3FrameUrlConfig

    def private(self, key: str) -> str:
        """Return the URL by which we reach an object."""
        return self._url(self.config.endpoint, key)

    def public(self, key: str) -> str:
        """Return the URL by which the model server reaches it."""
        return self._url(self.config.public_endpoint or self.config.endpoint, key)

    def _url(self, endpoint: str, key: str) -> str:
        if self.config.addressing == "path":
            return f"{endpoint}/{self.config.bucket}/{key}"
        parts = urlsplit(endpoint)
        return f"{parts.scheme}://{self.config.bucket}.{parts.netloc}{parts.path}/{key}"


class _Signer:
    """AWS Signature Version 4 in the query, by botocore."""

    def __init__(self, name: str, config: S3FrameUrlConfig) -> None:
        """Load botocore, which takes a while: not for the event loop."""
        try:
            from botocore.auth import S3SigV4QueryAuth  # noqa: PLC0415  an extra, and slow to load
            from botocore.awsrequest import AWSRequest  # noqa: PLC0415
            from botocore.credentials import Credentials  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                f"model {name}: frame_url needs the extra s3: pip install edgevlm[s3]"
            ) from error
        self._request: Callable[..., Any] = AWSRequest
        self._auth = S3SigV4QueryAuth(
            Credentials(config.access_key.reveal(), config.secret_key.reveal()),
            "s3",
            config.region,
            expires=config.expires_secs,
        )

    def sign(self, method: str, url: str) -> str:
        """Return `url` with everything that lets its bearer do this one thing for a while."""
        request = self._request(method=method, url=url)
        self._auth.add_auth(request)
        return str(request.url)


def _refusal(status: int, body: bytes) -> InferError:
    """Return what a store's refusal means; S3 says why in XML."""
    text = body.decode(errors="replace")
    code = text.partition("<Code>")[2].partition("</Code>")[0][:80]
    said = f"the picture store answered {status}" + (f": {code}" if code.isalnum() else "")
    if status == 503 or code in ("SlowDown", "ServiceUnavailable", "RequestTimeout"):
        return ModelOverloaded(said)
    return ModelUnreachable(said) if status >= 500 else ModelRefused(said)
