"""The pages and the JSON that show what the catcher kept.

Mail is hostile input: every value is escaped by the templates, HTML bodies are shown in a
sandboxed frame under a policy that runs no script and loads nothing from elsewhere, and files are
only ever downloaded.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from mailer.embedded.mime import Parsed, Part
from mailer.embedded.store import Caught, Store

PER_PAGE = 50
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("pages")), autoescape=True
)
_PAGE_POLICY = "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'"
_MAIL_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"


def inbox(store: Store, host_names: Sequence[str]) -> Starlette:
    """The site that shows ``store``, answering only to these host names."""
    site = _Site(store)
    return Starlette(
        routes=[
            Route("/", site.list_page),
            Route("/style.css", site.style),
            Route("/messages/{id:int}", site.message_page),
            Route("/messages/{id:int}/html", site.html),
            Route("/messages/{id:int}/source", site.source),
            Route("/messages/{id:int}/parts/{part:int}", site.part),
            Route("/api/messages", site.api_messages),
            Route("/api/messages/{id:int}", site.api_message),
            Route("/api/count", site.api_count),
            Route("/api/recipients", site.api_recipients),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(host_names))],
    )


class _Site:
    def __init__(self, store: Store) -> None:
        self._store = store

    def _caught(self, request: Request) -> Caught:
        caught = self._store.get(request.path_params["id"])
        if caught is None:
            raise HTTPException(404, "No such message, or not kept any more")
        return caught

    def _page(self, request: Request) -> tuple[list[Caught], dict[str, Any]]:
        """One page of the messages that the query asks for, and what the page links need."""
        address, number = request.query_params.get("address", "").strip(), _number(request, "page")
        size = min(_number(request, "per_page", PER_PAGE), 1000)
        found = self._store.search(address) if address else iter(self._store.newest_first())
        page = list(islice(found, (number - 1) * size, number * size + 1))
        return page[:size], {"address": address, "page": number, "more": len(page) > size}

    async def list_page(self, request: Request) -> Response:
        """What arrived, newest first."""
        page, query = self._page(request)
        rows = [{"caught": c, "subject": Parsed(c.content).header("Subject")} for c in page]
        return _render("list.html", rows=rows, count=self._store.count, **query)

    async def message_page(self, request: Request) -> Response:
        """One message: HTML, text, headers and files."""
        caught = self._caught(request)
        return _render("message.html", caught=caught, parsed=Parsed(caught.content))

    async def html(self, request: Request) -> Response:
        """The HTML body alone, for the sandboxed frame."""
        caught = self._caught(request)
        body = Parsed(caught.content).html_with_images(f"/messages/{caught.id}/parts")
        return HTMLResponse(body, headers=_headers(_MAIL_POLICY))

    async def source(self, request: Request) -> Response:
        """The message as it came over the wire."""
        return PlainTextResponse(self._caught(request).content, headers=_headers(_PAGE_POLICY))

    async def part(self, request: Request) -> Response:
        """One part of a message, to download."""
        parts = Parsed(self._caught(request).content).parts()
        number = request.path_params["part"]
        if number >= len(parts):
            raise HTTPException(404, "No such part")
        return _download(parts[number])

    async def style(self, _: Request) -> Response:
        """The stylesheet."""
        text = Path(__file__).with_name("pages").joinpath("style.css").read_text(encoding="utf-8")
        return Response(text, media_type="text/css")

    async def api_messages(self, request: Request) -> Response:
        """``?address=&page=&per_page=``: messages newest first, without their content."""
        page, query = self._page(request)
        return JSONResponse({"messages": [_summary(c) for c in page], **query})

    async def api_message(self, request: Request) -> Response:
        """One message, taken apart."""
        caught = self._caught(request)
        parsed = Parsed(caught.content)
        files = [
            {"name": p.name, "type": p.content_type, "size": len(p.content), "part": p.number}
            for p in parsed.attachments
        ]
        return JSONResponse(
            _summary(caught)
            | {"headers": parsed.headers, "text": parsed.text, "html": parsed.html}
            | {"attachments": files}
        )

    async def api_count(self, request: Request) -> Response:
        """``{"count": N}``: all that arrived, or with ``?address=`` what that one was sent."""
        address = request.query_params.get("address")
        recipients = self._store.recipients() if address else {}
        count = recipients.get(address, 0) if address else self._store.count
        return JSONResponse({"count": count})

    async def api_recipients(self, _: Request) -> Response:
        """``{"ann@example.net": 1, …}``: how many messages each address was sent."""
        return JSONResponse(self._store.recipients())


def _number(request: Request, name: str, otherwise: int = 1) -> int:
    text = request.query_params.get(name, "")
    return max(int(text), 1) if text.isascii() and text.isdigit() else otherwise


def _summary(caught: Caught) -> dict[str, Any]:
    return {
        "id": caught.id,
        "from": caught.envelope_from,
        "to": list(caught.recipients),
        "subject": Parsed(caught.content).header("Subject"),
        "received_at": caught.received_at.isoformat(),
        "size": len(caught.content),
    }


def _render(template: str, **values: Any) -> Response:
    page = _PAGES.get_template(template).render(**values)
    return HTMLResponse(page, headers=_headers(_PAGE_POLICY))


def _download(part: Part) -> Response:
    headers = _headers(_MAIL_POLICY)
    headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(part.name, safe='')}"
    return Response(part.content, media_type=part.content_type, headers=headers)


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
