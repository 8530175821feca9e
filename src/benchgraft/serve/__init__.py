"""Fronts over HTTP. Needs the extra `serve`: FastAPI, uvicorn, python-multipart."""
