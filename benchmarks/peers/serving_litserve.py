"""Batches of up to 16, waited for 10 ms at most, as the documentation of LitServe has it.

python benchmarks/peers/serving_litserve.py MODEL.onnx PORT
"""

import sys

import litserve
import numpy as np
from fastapi import Request
from serving import answer, opened, pixels


class Api(litserve.LitAPI):
    """Its five steps."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - theirs
        """In the process that answers."""
        self.session, self.side, self.names = opened(sys.argv[1])

    def decode_request(self, request: Request) -> np.ndarray:
        """One photo a request."""
        return pixels(request["photos"].file.read(), self.side)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """All of them."""
        return np.stack(inputs)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities."""
        rows: np.ndarray = self.session.run(None, {"images": batch})[0]
        return rows

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """A row each."""
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, object]:
        """As JSON."""
        return answer(output, self.names)


if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.01)
    litserve.LitServer(api, accelerator="cpu").run(port=int(sys.argv[2]), generate_client_file=False)
