"""The command that answers over HTTP."""

from __future__ import annotations

from ..config.requests import ServeRequest
from .options import Given, asks
from .output import say_aside


@asks(ServeRequest)
def serve(given: Given) -> None:
    """Open a page for a folder of photos: add, train, look, try, download. With --api: answer programs.

    Programs ask POST /predict, GET /model, /healthz, /metrics, /openapi.json; photos come as the fields
    `photos` of a form, or one as the whole body. On SIGTERM it answers open requests, then ends.

    Exit codes: 0 stopped, 2 bad input.

    Example: benchgraft serve photos/    or    benchgraft serve photos.onnx --api --port 8000
    """
    from importlib.util import find_spec

    from ..config.checking import checked
    from ..errors import UserError

    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if find_spec(name) is None]
    if missing:
        raise UserError(f"serve needs {', '.join(missing)}", "pip install 'benchgraft[serve]'")
    from ..serve.service import serve as run

    run(checked(ServeRequest, **given), say_aside)
