"""Models that can be exported by name. One function a recipe; RECIPES lists them.

Keras is imported inside the functions, so that the command line can name the recipes without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .preprocess import Preprocess

if TYPE_CHECKING:
    import keras

SMALLEST_IMAGE = 32
"""Pixels a side that ResNet50 needs (keras.applications refuses less)."""
LARGEST_IMAGE = 4096
"""Pixels a side beyond which a single image takes gigabytes."""

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""CIFAR-10's classes in label order."""


@dataclass(frozen=True)
class System:
    """A model and what belongs to it, ready for `export`."""

    model: keras.Model
    preprocess: Preprocess
    loss: str
    """See signatures.LOSSES."""


def keras_resnet50(classes: int, image_size: int, upsample: int, *, softmax: bool = True) -> keras.Model:
    """The article's classifier over images float32 [N,image_size,image_size,3] in [0,1], uncompiled.

    Upsampling, ResNet50 without top (keras.applications, v1), average pooling, Dense 1024, 512 and
    `classes`. With ten classes it has 26,215,818 parameters. Its weights are random and follow from
    keras.utils.set_random_seed.
    """
    import keras
    from keras import layers

    side = image_size * upsample
    inputs = keras.Input((image_size, image_size, 3), name="input_layer")
    x = layers.UpSampling2D(size=(upsample, upsample), name="up_sampling2d")(inputs)
    x = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(side, side, 3), name="resnet50"
    )(x)
    x = layers.GlobalAveragePooling2D(name="global_average_pooling2d")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(1024, activation="relu", name="dense")(x)
    x = layers.Dense(512, activation="relu", name="dense_1")(x)
    outputs = layers.Dense(classes, activation="softmax" if softmax else None, name="classification")(x)
    return keras.Model(inputs, outputs, name="resnet50_classifier")


def keras_system(classes: int, image_size: int, upsample: int, *, logits: bool) -> System:
    """The article in Keras. It enlarges images inside the model; its loss is the same from logits."""
    model = keras_resnet50(classes, image_size, upsample, softmax=not logits)
    return System(model, Preprocess(), "logits" if logits else "probabilities")


def pytorch_system(classes: int, image_size: int, upsample: int, *, logits: bool) -> System:
    """The article in PyTorch: Resize, ToTensor and Normalize, then torchvision's resnet50 and a classifier.

    As published, the loss takes the model's probabilities for logits: CrossEntropyLoss applies a second
    softmax to them.
    """
    from .resnet_torch import classifier

    side = image_size * upsample
    scale = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size=(side, side))
    return System(
        classifier(classes, side, softmax=not logits), scale, "logits" if logits else "softmax-twice"
    )


RECIPES: dict[str, Callable[..., System]] = {"keras": keras_system, "pytorch": pytorch_system}
"""Recipes by name: (classes, image_size, upsample, logits=) -> System."""
