"""Pictures behind URLs: a real S3 server, a model server that fetches them, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from edgevlm.errors import InferError, ModelRefused, ModelUnreachable, PictureRejected
from edgevlm.infer.backend import Backend
from edgevlm.infer.config import S3FrameUrlConfig
from edgevlm.infer.frame_url import S3FrameUrls
from edgevlm.runtime.section import Secret
from tests.infer import asking
from tests.infer.drawn import picture
from tests.infer.test_contract import ask, asked_as, opened
from tests.servers.s3 import BUCKET, S3
from tests.servers.vendors import KEY, DashScopeKimiServer, fetching
from tests.servers.vlm import VlmServer, held, say, status

SECRET = "s3-secret-0123456789"


def bucket(endpoint: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "s3",
        "endpoint": endpoint,
        "bucket": BUCKET,
        "access_key": "AKIATEST",
        "secret_key": SECRET,
        **more,
    }


@asynccontextmanager
async def kimi(server: VlmServer, endpoint: str, **more: Any) -> AsyncIterator[Backend]:
    config = {
        "type": "dashscope",
        "model": "kimi/kimi-k2.6",
        "api_key": KEY,
        "frame_url": bucket(endpoint, **more),
    }
    async with opened(server, config) as backend:
        yield backend


@asynccontextmanager
async def urls_of(endpoint: str, **more: Any) -> AsyncIterator[S3FrameUrls]:
    values = bucket(endpoint, **more)
    values |= {name: Secret(values[name]) for name in ("access_key", "secret_key")}
    urls = S3FrameUrls("m", S3FrameUrlConfig(**values), ca_file=None, connections=2)
    await urls.open()
    try:
        yield urls
    finally:
        await urls.close()


async def test_a_picture_is_fetched_from_the_bucket_and_gone_after_the_answer(s3: S3) -> None:
    seen: list[bytes] = []
    async with DashScopeKimiServer() as server, kimi(server, s3.endpoint) as backend:
        server.otherwise = fetching(say('{"class_name": "truck"}'), seen)
        assert (await ask(backend, asking.CLASSIFICATION)).text == '{"class_name": "truck"}'
        assert (server.violations, server.refused) == ([], [])
        assert "response_format" not in server.asked[0].body
        assert server.asked[0].body["enable_thinking"] is False
    assert seen == [picture().jpeg]
    assert await s3.keys() == []
    assert SECRET not in str(server.asked)


async def test_without_a_bucket_the_model_refuses_the_picture() -> None:
    config = {"type": "dashscope", "model": "kimi/kimi-k2.6", "api_key": KEY}
    async with DashScopeKimiServer() as server, opened(server, config) as backend:
        with pytest.raises(PictureRejected):
            await ask(backend, asking.CAPTION)


@pytest.mark.parametrize("reply", [status(500), status(400, {"error": {"message": "no"}})])
async def test_nothing_is_left_behind_by_a_question_that_fails(s3: S3, reply: Any) -> None:
    async with DashScopeKimiServer() as server, kimi(server, s3.endpoint) as backend:
        server.otherwise = reply
        with pytest.raises(InferError):
            await ask(backend, asking.CAPTION)
    assert await s3.keys() == []


async def test_nothing_is_left_behind_by_a_question_that_is_cancelled(s3: S3) -> None:
    async with DashScopeKimiServer() as server, kimi(server, s3.endpoint) as backend:
        server.otherwise = held(asyncio.Event(), say("never"))
        prompt = asked_as(backend, asking.CAPTION)
        question = asyncio.create_task(backend.ask(prompt, [picture()], timeout_secs=30))
        await server.wait_asked(1)
        assert len(await s3.keys()) == 1
        question.cancel()
        await asyncio.wait([question])
        assert question.cancelled()
        assert await s3.keys() == []


async def test_a_store_that_is_away_is_told_apart_from_one_that_refuses(s3: S3) -> None:
    async with urls_of("http://127.0.0.1:9") as urls:
        with capture_logs(), pytest.raises(ModelUnreachable):
            async with urls.offered([picture()]):
                pass
    async with urls_of(s3.endpoint, bucket="no-such-bucket") as urls:
        with capture_logs() as logs, pytest.raises(ModelRefused, match="NoSuchBucket"):
            async with urls.offered([picture()]):
                pass
    assert "Signature" not in str(logs)


async def test_the_names_of_objects_cannot_be_guessed_and_begin_as_configured(s3: S3) -> None:
    async with (
        urls_of(s3.endpoint, prefix="site-7/", expires_secs=60) as urls,
        urls.offered([picture(), picture()]) as offered,
    ):
        keys = await s3.keys()
        assert len(set(keys)) == 2
        assert all(key.startswith("site-7/") and len(key) > 35 for key in keys)
        assert all("X-Amz-Expires=60" in url and SECRET not in url for url in offered)
        async with aiohttp.ClientSession() as session, session.get(offered[1]) as response:
            assert await response.read() == picture().jpeg


async def test_the_model_server_may_find_the_store_elsewhere_and_the_bucket_in_the_host(s3: S3) -> None:
    public = "https://frames.example.org"
    async with urls_of(s3.endpoint, public_endpoint=public) as urls, urls.offered([picture()]) as [url]:
        assert url.startswith(f"{public}/{BUCKET}/edgevlm/")
    async with urls_of("https://oss.example.org", addressing="virtual") as urls:
        assert urls._place.private("a.jpg") == f"https://{BUCKET}.oss.example.org/a.jpg"
