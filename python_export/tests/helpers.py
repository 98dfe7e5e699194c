"""Small models, easy images and a driver that runs exported models the way Go does."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType

import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Driver:
    """A session over an exported model through its MetaGraphDef alone, as graft opens it."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        self._graph = tf.Graph()
        config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        self._session = v1.Session(graph=self._graph, config=config)
        with self._graph.as_default():
            self.meta = v1.saved_model.load(self._session, ["serve"], str(folder))

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session.close()

    def call(self, signature: str, **inputs: object) -> dict[str, np.ndarray]:
        """Runs a signature by the names in its SignatureDef."""
        table = self.meta.signature_def[signature]
        return self._session.run(
            {name: info.name for name, info in table.outputs.items()},
            {table.inputs[name].name: value for name, value in inputs.items()},
        )

    def save(self, prefix: Path) -> None:
        """Writes all variables through MetaGraphDef.saver_def under a path prefix."""
        prefix.parent.mkdir(parents=True, exist_ok=True)  # the saver makes no folders
        saver = self.meta.saver_def
        self._session.run(saver.save_tensor_name, {saver.filename_tensor_name: str(prefix)})

    def operations(self, kind: str) -> list[tf.Operation]:
        """The graph's operations of one type, those inside functions left out."""
        return [operation for operation in self._graph.get_operations() if operation.type == kind]


def small_cnn(*, classes: int = 3, side: int = 8, dropout: float = 0.0, softmax: bool = True) -> keras.Model:
    """Two convolutions with BatchNorm and regularization; trains in milliseconds an image."""
    layers = keras.layers
    inputs = keras.Input((side, side, 3))
    x = layers.Conv2D(8, 3, padding="same", kernel_regularizer=keras.regularizers.L2(1e-3), name="first")(
        inputs
    )
    x = layers.BatchNormalization(name="norm_1")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", name="second")(x)
    x = layers.BatchNormalization(name="norm_2")(x)
    x = layers.ReLU()(x)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="drop_maps")(x)
    x = layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = layers.Dropout(dropout, name="drop")(x)
    outputs = layers.Dense(classes, activation="softmax" if softmax else None, name="head")(x)
    return keras.Model(inputs, outputs, name="small")


def names(classes: int) -> list[str]:
    """Class names for a test."""
    return [f"class_{number}" for number in range(classes)]


def blobs(count: int, *, classes: int = 3, side: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images uint8 [count,side,side,3] whose colour tells their class, and labels int64 [count]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    colours = np.random.default_rng(99).integers(40, 216, (classes, 1, 1, 3))
    images = colours[labels] + rng.normal(0, 25, (count, side, side, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels


def values(folder: Path) -> dict[str, np.ndarray]:
    """All variables of a SavedModel by checkpoint key, without the suffix that they share."""
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {
        key.removesuffix(suffix): reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key.endswith(suffix)
    }


def scaled(images: np.ndarray) -> np.ndarray:
    """What Preprocess() makes of images, in numpy."""
    return images.astype(np.float32) / np.float32(255)
