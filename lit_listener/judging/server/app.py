"""The app: its routes, and the layers that each request comes through.

From the outside in: context (ids, log, figures, errors), own pages, token, size of the body; then a route.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from lit_listener import __version__
from lit_listener.judging.judge import Judge
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.server.admission import BodyLimit
from lit_listener.judging.server.answers import CompareAnswer, HealthAnswer, RankAnswer, ScoreAnswer
from lit_listener.judging.server.context import Context, context_of
from lit_listener.judging.server.docs_page import DOCS_HEADERS, docs_page
from lit_listener.judging.server.documentation import body_docs, error_docs
from lit_listener.judging.server.errors import Refusal, error_response
from lit_listener.judging.server.guards import OwnPages, Token
from lit_listener.judging.server.limits import Limits
from lit_listener.judging.server.openai.routes import add_openai
from lit_listener.judging.server.service import Service
from lit_listener.judging.server.wire import CompareQuestion, RankQuestion, ScoreQuestion

PAGE = Path(__file__).parent / "page"
"""The web page's files."""
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_DESCRIPTION = """Which of several images would people prefer for a prompt? A trained reasoner compares, ranks and \
scores them, and shows its thoughts. The same request has the same answer, whatever else the server is asked."""


def create_app(
    judge: Judge,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    batch_wait_ms: float = 5.0,
    openai: bool = False,
) -> FastAPI:
    """The app of a judge; ``app.state.service`` is what answers in it.

    Args:
        judge: who answers. Loaded once, by the caller.
        limits: what requests are held to; None for ``Limits()``.
        token: bearer token that judging and figures ask for; None for none.
        hosts: names that requests may call this server by (the header Host); None for any.
        batch_wait_ms: milliseconds that a batch which is not full waits for requests that are being read.
        openai: let the judge's model be asked through an interface of OpenAI's shape too.

    Raises:
        ValueError: the token is empty, or the wait is negative.
    """
    if token is not None and not token.strip():
        raise ValueError("token: expected a secret, got an empty one")
    if batch_wait_ms < 0:
        raise ValueError(f"batch_wait_ms: expected at least 0, got {batch_wait_ms}")
    service = Service(judge, limits or Limits(), batch_wait_ms / 1000)
    app = FastAPI(
        title="lit_listener judge",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=service.running,
        docs_url=None,  # FastAPI's own page is another server's script
        redoc_url=None,
        dependencies=[] if token is None else [Depends(HTTPBearer(auto_error=False))],
    )
    app.state.service = service
    app.add_exception_handler(HTTPException, _http_error)
    _add_questions(app, service)
    _add_figures(app, service)
    if openai:
        add_openai(app, service, batch_wait_ms / 1000)
    _add_page(app)
    # the last is the outermost
    app.add_middleware(BodyLimit, limits=service.limits)
    if token is not None:
        app.add_middleware(Token, token=token.strip())
    app.add_middleware(OwnPages, hosts=hosts)
    app.add_middleware(Context, metrics=service.metrics)
    return app


def _add_questions(app: FastAPI, service: Service) -> None:
    def described(answer: type[Any], question: type[Any]) -> dict[str, Any]:
        return {
            "response_class": JSONResponse,
            "responses": {200: {"model": answer}, **error_docs()},
            "openapi_extra": body_docs(question, service.limits),
            "tags": ["judging"],
        }

    @app.post("/v1/compare", **described(CompareAnswer, CompareQuestion))
    async def compare(request: Request) -> Response:
        """Which of two images would people prefer for a prompt?"""
        asked, result = await service.answer(request, CompareQuestion)
        return JSONResponse(_comparison(result, asked.traces))

    @app.post("/v1/rank", **described(RankAnswer, RankQuestion))
    async def rank(request: Request) -> Response:
        """Rank images for a prompt, best first: as the judge goes about it, each against one anchor, or all at once."""
        asked, result = await service.answer(request, RankQuestion)
        return JSONResponse(_ranking(result, asked.traces))

    @app.post("/v1/score", **described(ScoreAnswer, ScoreQuestion))
    async def score(request: Request) -> Response:
        """The scores of a ranking alone, such as the probability that an image is preferred to the anchor."""
        _, result = await service.answer(request, ScoreQuestion)
        return JSONResponse({name: result.to_dict()[name] for name in ScoreAnswer.model_fields})


def _add_figures(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=HealthAnswer, tags=["server"])
    async def health() -> Response:
        """Whether the server takes requests, and of which model."""
        return JSONResponse(
            {
                "status": "stopping" if service.admission.stopping else "ok",
                "model": service.judge.name,
                "version": __version__,
                "can_listen": service.judge.can_listen,
                "queue": service.waiting,
                "rates_images": service.judge.rates_images,
            }
        )

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}, **error_docs(401)},
        tags=["server"],
    )
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    async def index() -> Response:
        return await page("index.html")

    async def page(name: str) -> Response:
        if name not in {path.name for path in PAGE.glob("*")}:
            raise HTTPException(404)
        return FileResponse(PAGE / name, headers=_PAGE_HEADERS)

    async def docs(request: Request) -> Response:
        return HTMLResponse(docs_page(app.openapi(), str(request.base_url).rstrip("/")), headers=DOCS_HEADERS)

    for path, endpoint in (("/", index), ("/page/{name}", page), ("/docs", docs)):
        app.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)


def _comparison(result: Comparison, traces: bool) -> dict[str, Any]:
    told = result.to_dict()
    return told if traces else {**told, "traces": [], "ratings": _without_traces(told["ratings"])}


def _ranking(result: Ranking, traces: bool) -> dict[str, Any]:
    comparisons = [each and _comparison(each, traces) for each in result.comparisons]
    told = {**result.to_dict(), "comparisons": comparisons}
    if traces:
        return told
    listed: list[Any] | None = None if result.list_traces is None else []
    return {**told, "ratings": _without_traces(told["ratings"]), "list_traces": listed}


def _without_traces(ratings: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    return None if ratings is None else [{**rating, "traces": []} for rating in ratings]


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router itself refuses, in the shape of all errors."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:100]}"
    code, message = {
        404: ("not_found", f"there is no {where}; expected one of the addresses that /docs lists"),
        405: ("wrong_method", f"{where}: expected another method; /docs lists them"),
    }.get(error.status_code, ("bad_request", f"{where}: {error.detail}"))
    headers = error.headers or {}
    refusal = Refusal(error.status_code, code, message, headers)
    return error_response(refusal, context_of(request.scope).request_id, request.url.path)
