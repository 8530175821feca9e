"""Two other ways to answer photos over HTTP, as their documentation has it: see benchmarks/serving.py.

python benchmarks/peers/serving.py fastapi|litserve MODEL.onnx PORT
"""

from __future__ import annotations

import io
import json
import os
import sys

import numpy as np
import onnxruntime
from PIL import Image


def opened(path: str) -> tuple[onnxruntime.InferenceSession, int, list[str]]:
    """The session, the side of the pictures that it takes, and the names of the classes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    return session, session.get_inputs()[0].shape[1], json.loads(facts["class_names"])


def pixels(raw: bytes, side: int) -> np.ndarray:
    """The middle square of a photo, uint8 (side, side, 3)."""
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box))


def with_fastapi(path: str, port: int) -> None:
    """One photo a call, in the thread pool of FastAPI."""
    import uvicorn
    from fastapi import FastAPI, UploadFile

    session, side, names = opened(path)
    app = FastAPI()

    @app.post("/predict")
    def predict(photos: list[UploadFile]) -> list[dict[str, object]]:
        found = []
        for photo in photos:
            [row] = session.run(None, {"images": pixels(photo.file.read(), side)[None]})[0]
            found.append({"class_name": names[int(row.argmax())], "probability": float(row.max())})
        return found

    uvicorn.run(app, port=port, log_level="warning")


def with_litserve(path: str, port: int) -> None:
    """Batches of up to 16, waited for 10 ms at most."""
    import litserve
    from fastapi import Request

    class Api(litserve.LitAPI):
        def setup(self, device: str) -> None:  # noqa: ARG002 - theirs
            self.session, self.side, self.names = opened(path)

        def decode_request(self, request: Request) -> np.ndarray:
            photos = request["photos"]
            photo = photos[0] if isinstance(photos, list) else photos
            return pixels(photo.file.read(), self.side)

        def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
            return np.stack(inputs)

        def predict(self, batch: np.ndarray) -> np.ndarray:
            rows: np.ndarray = self.session.run(None, {"images": batch})[0]
            return rows

        def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
            return list(output)

        def encode_response(self, output: np.ndarray) -> dict[str, object]:
            return {"class_name": self.names[int(output.argmax())], "probability": float(output.max())}

    api = Api(max_batch_size=16, batch_timeout=0.01)
    litserve.LitServer(api, accelerator="cpu").run(port=port, generate_client_file=False)


if __name__ == "__main__":
    {"fastapi": with_fastapi, "litserve": with_litserve}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
