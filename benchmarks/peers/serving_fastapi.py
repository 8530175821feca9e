"""One photo a call, in the thread pool of FastAPI, as its documentation has it.

python benchmarks/peers/serving_fastapi.py MODEL.onnx PORT
"""

import sys

import uvicorn
from fastapi import FastAPI, UploadFile
from serving import answer, opened, pixels

session, side, names = opened(sys.argv[1])
app = FastAPI()


@app.post("/predict")
def predict(photos: list[UploadFile]) -> list[dict[str, object]]:
    """Of each photo."""
    rows = [session.run(None, {"images": pixels(photo.file.read(), side)[None]})[0] for photo in photos]
    return [answer(row[0], names) for row in rows]


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
