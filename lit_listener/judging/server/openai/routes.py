"""The addresses of OpenAI's shape: ``/v1/models`` and ``/v1/chat/completions``."""

import time
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from lit_listener.judging.server.context import context_of
from lit_listener.judging.server.openai.batching import ChatBatcher
from lit_listener.judging.server.openai.reading import ChatReader, UnderstoodChat
from lit_listener.judging.server.openai.wire import completion
from lit_listener.judging.server.service import Service


def add_openai(app: FastAPI, service: Service, batch_wait_s: float) -> None:
    """Let a judge's model be asked through an interface of OpenAI's shape too.

    Args:
        app: gets the addresses.
        service: lets requests in; ends what waits when the app ends.
        batch_wait_s: seconds that a batch waits for requests that are being read.
    """
    model, started = service.judge.name, int(time.time())
    reader = ChatReader(model, service.limits)
    batcher = ChatBatcher(
        service.judge, batch_wait_s, on_the_way=lambda: service.admission.reading > 0, report=service.metrics.batch
    )
    service.also_batched_by(batcher)

    async def models() -> Response:
        about = {"id": model, "object": "model", "created": started, "owned_by": "lit_listener"}
        return JSONResponse({"object": "list", "data": [about]})

    async def chat_completions(request: Request) -> Response:
        def submit(understood: UnderstoodChat) -> Any:
            return batcher.submit(understood.chat)

        _, answer = await service.answered(request, partial(_read, reader), submit, only_json=True)
        return JSONResponse(completion(answer, model, context_of(request.scope).request_id, int(time.time())))

    app.add_api_route("/v1/models", models, methods=["GET"], include_in_schema=False)
    app.add_api_route("/v1/chat/completions", chat_completions, methods=["POST"], include_in_schema=False)


def _read(reader: ChatReader, body: bytes, content_type: str, lease: Any) -> UnderstoodChat:
    return reader(body, lease)
