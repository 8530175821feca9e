"""Errors as answers: what and where, in the words of the command, the same from every service of ours."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from ..errors import UserError
from ..names import printable
from .served import TooBusyError


def tell_failures(app: FastAPI) -> None:
    """Have the application answer these errors by itself, wherever they are raised."""
    app.add_exception_handler(UserError, _mistake)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TooBusyError, _busy)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _mistake(_request: Request, error: Exception) -> JSONResponse:
    lines = [printable(line) for line in str(error).split("\n")]
    return JSONResponse({"detail": "\n".join(lines)}, 422)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """What is wrong with the values, as one line."""
    assert isinstance(error, RequestValidationError)
    told = [f"{each['loc'][-1]}: {each['msg'][0].lower()}{each['msg'][1:]}" for each in error.errors()]
    return JSONResponse({"detail": "; ".join(told)}, 422)


async def _busy(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "too many photos wait: ask again"}, 429, {"Retry-After": "1"})


async def _gone(_request: Request, _error: Exception) -> JSONResponse:
    """Nobody is there to read it."""
    return JSONResponse({"detail": "the connection was closed before the request was whole"}, 400)
