"""The small models that Go's tests use: `python -m python_export.tests.models FOLDER`.

They are made once for each version of this package and of TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


def key() -> str:
    """What the models are a function of."""
    digest = hashlib.sha256()
    for name in ("tensorflow_cpu", "keras"):
        digest.update(importlib.metadata.version(name).encode())
    for file in sorted([*PACKAGE.glob("*.py"), PACKAGE / "contract.json", Path(__file__)]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def by_option() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Small models by name, each with what it is exported by."""
    import keras

    from python_export import Preprocess
    from python_export.layers import TorchBatchNorm
    from python_export.recipes import CIFAR10

    from .helpers import small_cnn

    layers = keras.layers

    def small(
        norm: type[keras.layers.Layer], pool: type[keras.layers.Layer], side: int, name: str
    ) -> keras.Model:
        """A net that trains in milliseconds."""
        return keras.Sequential(
            [
                keras.Input((side, side, 3)),
                layers.AveragePooling2D(side // 16),
                layers.Conv2D(8, 3, strides=2),
                norm(momentum=0.9),
                layers.ReLU(),
                layers.Conv2D(16, 3),
                norm(momentum=0.9),
                layers.ReLU(),
                pool(),
                layers.Dense(10, activation="softmax", name="classification"),
            ],
            name=name,
        )

    keras.utils.set_random_seed(7)
    plain = small(layers.BatchNormalization, layers.Flatten, 32, "small")
    # A seed among the inputs, an optimizer with slots, logits, other classes.
    pets = small_cnn(classes=2, side=16, dropout=0.3, softmax=False)
    # Images enlarged by a factor that can be fed; the same weights for every size.
    sizes = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.UpSampling2D(2),
            layers.Conv2D(4, 3, strides=4),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ],
        name="sizes",
    )
    # As the recipe "pytorch": resized and normalized in the graph, torch's BatchNorm and second softmax.
    torch = small(TorchBatchNorm, layers.GlobalAveragePooling2D, 64, "torch")
    normalized = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=(64, 64))
    cifar = {"classes": CIFAR10}
    return {
        "small": (plain, cifar),
        "keras": (plain, {**cifar, "batch_norm": "keras"}),
        "torch": (
            torch,
            {**cifar, "preprocess": normalized, "loss": "softmax-twice", "image": (32, 32, 3)},
        ),
        "pets": (
            pets,
            {"classes": ("cat", "dog"), "loss": "logits", "optimizer": keras.optimizers.Adam(0.001)},
        ),
        "sizes": (sizes, cifar),
    }


def make(folder: Path) -> None:
    """Writes all models into folder, a folder each."""
    import keras
    import tensorflow as tf

    from python_export import export
    from python_export.clone import PRECISIONS
    from python_export.recipes import CIFAR10

    layers = keras.layers

    # Each way to export in each precision, with the same weights.
    for name, (model, settings) in by_option().items():
        for precision in PRECISIONS:
            own = name if precision == "float32" else f"{name}-{precision}"
            export(model, folder / own, precision=precision, **settings)

    # As little work as possible for each step, with images of the usual size.
    tiny = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.AveragePooling2D(8),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ],
        name="tiny",
    )
    export(tiny, folder / "tiny", classes=CIFAR10)

    # More classes than a confusion matrix is counted for.
    many = keras.Sequential(
        [keras.Input((2, 2, 3)), layers.Flatten(), layers.Dense(1001, activation="softmax")], name="many"
    )
    export(many, folder / "many", classes=[f"class_{number}" for number in range(1001)])

    # Somebody else's SavedModel: nothing but serving_default.
    module = tf.Module()
    module.weight = tf.Variable(1.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")])
    def double(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * module.weight * 2.0}

    tf.saved_model.save(module, str(folder / "foreign"), signatures={"serving_default": double})


def main(folder: Path) -> None:
    """Makes the models unless they are there."""
    stamp = folder / "key"
    if stamp.exists() and stamp.read_text() == key():
        print(f"Test models: {folder} has them already")
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder)
    stamp.write_text(key())
    print(f"Test models: made in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
