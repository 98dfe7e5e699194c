"""The rival of serve.py: LitServe (https://github.com/Lightning-AI/LitServe) before TensorFlow for Python.

build/peers-serve/bin/python benchmarks/with_litserve.py serve MODEL PORT MAX_BATCH
build/peers-serve/bin/python benchmarks/with_litserve.py predict MODEL BATCH_SIZE

The first serves MODEL's serving_default at /predict: a request is the bytes of one image, an answer those of
its probabilities, float32. So neither side spends time on JSON. The second is a worker (orders.py) that calls
the same function.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import litserve
import numpy as np
from fastapi import Depends, Request, Response
from inputs import images
from orders import obey

SHAPE = (32, 32, 3)
BATCH_TIMEOUT = 0.01
"""Seconds that LitServe collects a batch for; a lone request waits as long.

256 connections gave batches of 25 images at 0.005 s, 49 at 0.01 and 64 of 64 at 0.02, and the last two about
the same rate. At 0 LitServe asks its queue as fast as it can, on a core that TensorFlow would need.
"""


def load(model: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function of a SavedModel."""
    import tensorflow as tf

    logging.getLogger("absl").setLevel(logging.ERROR)  # gradients that cannot be computed: none is asked for
    loaded = tf.saved_model.load(model)
    function = loaded.signatures["serving_default"]

    def predict(batch: np.ndarray, _keep: object = loaded) -> np.ndarray:
        return function(images=tf.constant(batch))["probabilities"].numpy()

    return predict


async def body(request: Request) -> bytes:
    """LitServe reads JSON and forms; this is how FastAPI is told to leave a body as it is."""
    return await request.body()


class API(litserve.LitAPI):
    """What LitServe asks of a model. Batches are stacked and taken apart by its own methods."""

    def __init__(self, model: str, max_batch: int) -> None:
        super().__init__(max_batch_size=max_batch, batch_timeout=BATCH_TIMEOUT)
        self._model = model

    def setup(self, device: str) -> None:
        """Loads the model in the process that computes, and warms it up."""
        self._predict = load(self._model)
        size = 1
        while size <= self.max_batch_size:
            self._predict(np.zeros((size, *SHAPE), np.uint8))
            size *= 2

    def decode_request(self, request: Annotated[bytes, Depends(body)]) -> np.ndarray:
        """One image."""
        return np.frombuffer(request, np.uint8).reshape(SHAPE)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """A row of probabilities for each image."""
        return self._predict(batch)

    def encode_response(self, row: np.ndarray) -> Response:
        """Its bytes."""
        return Response(row.tobytes(), media_type="application/octet-stream")


def serve(model: str, port: str, max_batch: str) -> None:
    """Serves until it is ended."""
    server = litserve.LitServer(
        API(model, int(max_batch)), accelerator="cpu", workers_per_device=1, timeout=False
    )
    server.run(
        host="127.0.0.1", port=int(port), log_level="warning", access_log=False, generate_client_file=False
    )


def predict(model: str, batch: str) -> None:
    """Is the function alone."""
    call, x = load(model), images(int(batch))
    obey(lambda: call(x), lambda: call(x))


if __name__ == "__main__":
    {"serve": serve, "predict": predict}[sys.argv[1]](*sys.argv[2:])
