"""gRPC through the edge with the real library: one answer, streams both ways, and streams that outlive a reload."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from fairway.edge.plan import Reload

SERVICE = "test.Echo"


def _same(data: bytes) -> bytes:
    return data


async def _once(request: bytes, context: Any) -> bytes:
    return request


async def _stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _refuse(request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
    raise AssertionError


@pytest.fixture
async def server(make: Any) -> AsyncIterator[tuple[str, int]]:
    started = grpc.aio.server()
    handlers = {
        "Once": grpc.unary_unary_rpc_method_handler(_once, _same, _same),
        "Refuse": grpc.unary_unary_rpc_method_handler(_refuse, _same, _same),
        "Stream": grpc.stream_stream_rpc_method_handler(_stream, _same, _same),
    }
    started.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = started.add_insecure_port("127.0.0.1:0")
    await started.start()
    yield "127.0.0.1", port
    await started.stop(None)


async def served(edge: Any, make: Any, address: tuple[str, int]) -> tuple[list[Any], bytes]:
    """The objects, and the certificate that clients trust."""
    secret = make.secret("s", "rpc.test")
    raws = [
        make.ingress(
            "g", ("rpc.test", "/", "Prefix", "rpc"), annotations={"backend-protocol": "GRPC"}, tls={"s": ["rpc.test"]}
        ),
        secret,
        *make.service("rpc", address),
    ]
    await edge.apply(raws)
    return raws, base64.b64decode(secret["data"]["tls.crt"])


def channel(edge: Any, trusted: bytes) -> Any:
    options = (("grpc.ssl_target_name_override", "rpc.test"), ("grpc.default_authority", "rpc.test"))
    credentials = grpc.ssl_channel_credentials(trusted)
    return grpc.aio.secure_channel(f"127.0.0.1:{edge.https_port}", credentials, options)


async def test_answers_streams_and_errors(any_edge: Any, make: Any, server: tuple[str, int]) -> None:
    _, trusted = await served(any_edge, make, server)
    async with channel(any_edge, trusted) as client:
        once = client.unary_unary(f"/{SERVICE}/Once", _same, _same)
        large = b"x" * 300_000
        assert await asyncio.gather(
            *(once(bytes((number,)), timeout=60) for number in range(20)), once(large, timeout=60)
        ) == [
            *(bytes((number,)) for number in range(20)),
            large,
        ]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.unary_unary(f"/{SERVICE}/Refuse", _same, _same)(b"", timeout=60)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")


async def test_a_stream_outlives_a_reload(edge: Any, make: Any, server: tuple[str, int]) -> None:
    raws, trusted = await served(edge, make, server)
    async with channel(edge, trusted) as client:
        call = client.stream_stream(f"/{SERVICE}/Stream", _same, _same)(timeout=120)
        for number in range(3):
            await call.write(bytes((number,)))
            assert await call.read() == bytes((number,))
            more = make.ingress(f"r{number}", (f"r{number}.test", "/", "Prefix", "rpc"),
                                annotations={"upstream-vhost": f"v{number}.test"})  # fmt: skip
            raws = [*raws, more]
            assert isinstance(await edge.apply(raws), Reload)
        await call.write(b"after")
        assert await call.read() == b"after"
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
