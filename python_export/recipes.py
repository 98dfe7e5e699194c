"""Models that can be exported by name. One function a recipe; RECIPES lists them.

Keras is imported inside the functions, so that the command line can name the recipes without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

SMALLEST_IMAGE = 32
"""Pixels a side that ResNet50 needs (keras.applications refuses less)."""
LARGEST_IMAGE = 4096
"""Pixels a side beyond which a single image takes gigabytes."""

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""CIFAR-10's classes in label order."""


def keras_resnet50(classes: int, image_size: int, upsample: int) -> keras.Model:
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
    outputs = layers.Dense(classes, activation="softmax", name="classification")(x)
    return keras.Model(inputs, outputs, name="resnet50_classifier")


RECIPES: dict[str, Callable[[int, int, int], keras.Model]] = {"keras": keras_resnet50}
"""Recipes by name: (classes, image_size, upsample) -> model."""
