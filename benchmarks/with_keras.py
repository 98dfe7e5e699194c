"""A worker of bench.py: the stock Keras model, or a SavedModel's train signature through a session of Python.

python benchmarks/with_keras.py fit|predict|function MODEL.keras BATCH_SIZE
python benchmarks/with_keras.py session MODEL BATCH_SIZE
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from inputs import images, labels
from orders import obey, obey_all


def session(model: str, batch: int) -> None:
    """Calls the train signature through a session, as Go does."""
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    with v1.Session() as run:
        signature = v1.saved_model.load(run, ["serve"], model).signature_def["train"]
        fetches = [info.name for info in signature.outputs.values()]
        feeds = {
            signature.inputs["images"].name: images(batch),
            signature.inputs["labels"].name: labels(batch),
            signature.inputs["learning_rate"].name: 0.01,
        }
        obey(lambda: run.run(fetches, feeds))


def fit(file: str, batch: int) -> None:
    """Runs Keras's fit; its time before the first step and after the last does not count."""
    import keras

    model = keras.models.load_model(file)
    model.compile(
        optimizer=keras.optimizers.SGD(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    x, y = images(batch).astype(np.float32) / 255, labels(batch)

    class Clock(keras.callbacks.Callback):
        begun = ended = None

        def on_train_batch_begin(self, step: int, logs: dict | None = None) -> None:
            self.begun = self.begun or time.perf_counter()

        def on_train_batch_end(self, step: int, logs: dict | None = None) -> None:
            self.ended = time.perf_counter()

    for line in sys.stdin:
        clock, count = Clock(), int(line)
        several = np.concatenate([x] * count), np.concatenate([y] * count)
        model.fit(*several, batch_size=batch, epochs=1, verbose=0, callbacks=[clock])
        print(clock.ended - clock.begun, flush=True)


def predict(file: str, batch: int) -> None:
    """Runs Keras's predict on all batches of an order at once, as its users do."""
    import keras

    model = keras.models.load_model(file)
    x = images(batch).astype(np.float32) / 255

    def ask(count: int) -> np.ndarray:
        return model.predict(np.concatenate([x] * count), batch_size=batch, verbose=0)

    obey_all(ask, lambda: ask(1))


def function(file: str, batch: int) -> None:
    """Runs the function behind Keras's predict, which is faster by what predict does around it."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(file)
    x = tf.constant(images(batch).astype(np.float32) / 255)
    ask = tf.function(lambda batch: model(batch, training=False))

    def step() -> np.ndarray:
        return ask(x).numpy()

    obey(step, step)


if __name__ == "__main__":
    tasks = {"session": session, "fit": fit, "predict": predict, "function": function}
    tasks[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
