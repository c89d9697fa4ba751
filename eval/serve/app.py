"""The routes: the page, its files, a question and its answer."""

from pathlib import Path
from string import Template

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from eval import page
from eval.serve.answers import Answers
from eval.serve.limits import Guarded, OneAtATime, Refused, asked
from eval.show.page import STYLE, VIEWER

GONE = 499  # nobody waits for the answer any more
HERE = Path(__file__).parent


def application(answers: Answers, host: str, port: int) -> Guarded:
    """The server of one model, to be bound to `host` and `port`."""
    files = {
        "/style.css": ("text/css", page.STYLE + STYLE + read("serve.css")),
        "/viewer.js": ("text/javascript", VIEWER),
        "/serve.js": ("text/javascript", read("serve.js")),
        "/": ("text/html", document(answers)),
    }
    one = OneAtATime()

    async def solve(request: Request) -> Response:
        question = await asked(request)
        async with one.turn():
            if await request.is_disconnected():
                return Response(status_code=GONE)
            return await run_in_threadpool(lambda: JSONResponse(answers.solve(question)))

    async def new(request: Request) -> Response:
        await asked(request)
        async with one.turn():
            return await run_in_threadpool(lambda: JSONResponse(answers.new()))

    async def refused(request: Request, error: Refused) -> Response:
        headers = {"Retry-After": "2"} if error.status == 429 else {}
        return JSONResponse({"error": str(error)}, error.status, headers)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "this question cannot be answered"}, 500)

    routes = [Route(path, of_text(*content)) for path, content in files.items()]
    routes += [Route("/solve", solve, methods=["POST"]), Route("/new", new, methods=["POST"])]
    handlers = {Refused: refused, Exception: failed}
    return Guarded(Starlette(routes=routes, exception_handlers=handlers), host, port)


def of_text(kind: str, content: str):
    """A route that always answers the same."""

    async def answer(request: Request) -> Response:
        return PlainTextResponse(content, media_type=kind)

    return answer


def document(answers: Answers) -> str:
    """The page, with what it has to know of the model."""
    about = answers.about()
    title = page.text(f"{about['run']} thinks")
    return Template(read("page.html")).substitute(title=title, about=page.data("about", about))


def read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
