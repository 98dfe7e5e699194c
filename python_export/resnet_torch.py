"""torchvision's resnet50 and the article's classifier on it, in Keras, layer by layer under torch's names.

Source: torchvision/models/resnet.py (v1.5: the stride is in the 3x3 convolution, no convolution has a bias).
"""

from __future__ import annotations

import keras
from keras import layers

from .layers import TorchBatchNorm

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""layer1 to layer4: (channels inside a block, blocks, stride of the first)."""
EXPANSION = 4
"""A block gives so many times the channels that it has inside."""


def backbone(side: int) -> keras.Model:
    """Torchvision's resnet50 with fc = Identity: float32 [N,side,side,3] -> [N,2048]."""
    inputs = keras.Input((side, side, 3), name="images")
    x = _convolution(64, 7, 2, "conv1")(layers.ZeroPadding2D(3, name="conv1.pad")(inputs))
    x = layers.ReLU(name="relu")(TorchBatchNorm(name="bn1")(x))
    x = layers.ZeroPadding2D(1, name="maxpool.pad")(x)  # of values that are not negative: as good as -inf
    x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    for number, (channels, blocks, stride) in enumerate(STAGES, 1):
        for block in range(blocks):
            x = _bottleneck(x, channels, stride if block == 0 else 1, f"layer{number}.{block}")
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="avgpool")(x), name="resnet")


def classifier(classes: int, side: int, softmax: bool) -> keras.Model:
    """The article's module: `resnet` and `classifier`, which ends in a softmax if asked for."""
    inputs = keras.Input((side, side, 3), name="input")
    x = layers.Flatten(name="classifier.0")(backbone(side)(inputs))
    x = layers.ReLU(name="classifier.2")(_linear(2048, 1024, "classifier.1")(x))
    x = layers.ReLU(name="classifier.4")(_linear(1024, 512, "classifier.3")(x))
    x = _linear(512, classes, "classifier.5")(x)
    outputs = layers.Softmax(name="classifier.6")(x) if softmax else x
    return keras.Model(inputs, outputs, name="resnet50_torch")


def _bottleneck(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    shortcut, wide = x, channels * EXPANSION
    if stride != 1 or x.shape[-1] != wide:
        shortcut = _convolution(wide, 1, stride, f"{name}.downsample.0")(x)
        shortcut = TorchBatchNorm(name=f"{name}.downsample.1")(shortcut)
    x = TorchBatchNorm(name=f"{name}.bn1")(_convolution(channels, 1, 1, f"{name}.conv1")(x))
    x = layers.ReLU(name=f"{name}.relu1")(x)
    if stride != 1:
        x = layers.ZeroPadding2D(1, name=f"{name}.conv2.pad")(x)  # "same" would pad only right and below
    x = TorchBatchNorm(name=f"{name}.bn2")(_convolution(channels, 3, stride, f"{name}.conv2")(x))
    x = layers.ReLU(name=f"{name}.relu2")(x)
    x = TorchBatchNorm(name=f"{name}.bn3")(_convolution(wide, 1, 1, f"{name}.conv3")(x))
    return layers.ReLU(name=f"{name}.relu")(layers.Add(name=f"{name}.add")([x, shortcut]))


def _convolution(channels: int, side: int, stride: int, name: str) -> keras.layers.Layer:
    """torch.nn.Conv2d as torchvision begins it: kaiming_normal_(mode="fan_out", nonlinearity="relu")."""
    return layers.Conv2D(
        channels,
        side,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=name,
    )


def _linear(inputs: int, outputs: int, name: str) -> keras.layers.Layer:
    """torch.nn.Linear: weights and biases begin evenly spread in ±1/sqrt(inputs)."""
    reach = inputs**-0.5
    return layers.Dense(
        outputs,
        kernel_initializer=keras.initializers.RandomUniform(-reach, reach),
        bias_initializer=keras.initializers.RandomUniform(-reach, reach),
        name=name,
    )
