"""Layers that replace Keras's own in the exported graph: same numbers, faster or driven by a fed seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("residual")
class FusedBatchNorm(keras.layers.BatchNormalization):
    """Keras's BatchNormalization computed by FusedBatchNormV3: one pass over memory where Keras makes five.

    Weights, statistics and results are Keras's. What the op cannot do (another axis than the last, another
    rank than 4, weights of another dtype than float32, a mask, renorm, synchronized) is left to Keras's own
    code.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Normalizes inputs [N,H,W,C] over N, H and W: float32, or halves if the layer does not cast them."""
        if mask is not None or not self.fits(inputs):
            return super().call(inputs, training=training, mask=mask)
        channels = self.moving_mean.shape
        scale = self.gamma.value if self.scale else tf.ones(channels)
        offset = self.beta.value if self.center else tf.zeros(channels)
        if not (training and self.trainable):
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=scale,
                offset=offset,
                mean=self.moving_mean.value,
                variance=self.moving_variance.value,
                epsilon=self.epsilon,
                is_training=False,
            ).y
        normalized = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=[], variance=[], epsilon=self.epsilon, is_training=True
        )
        self._move(self.moving_mean, normalized.batch_mean)
        self._move(self.moving_variance, self._averaged(normalized.batch_variance, inputs))
        return normalized.y

    def _averaged(self, variance: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        """What the moving variance averages, from the op's unbiased batch variance [C]: the biased one."""
        return _biased(variance, inputs)

    def fits(self, inputs: tf.Tensor | keras.KerasTensor) -> bool:
        """Whether the op can normalize such inputs."""
        last = self.axis in (-1, 3) and len(inputs.shape) == 4
        # Variables of a layer that computes in halves are halves in its call.
        float32 = self.compute_dtype == "float32"
        taken = keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        return last and float32 and taken and not self.renorm and not self.synchronized

    def _move(self, statistic: keras.Variable, value: tf.Tensor) -> None:
        statistic.assign(statistic.value * self.momentum + value * (1.0 - self.momentum))


@keras.saving.register_keras_serializable("residual")
class TorchBatchNorm(FusedBatchNorm):
    """torch.nn.BatchNorm2d, whose running variance averages the unbiased batch variance.

    Momentum counts as in Keras: torch's 0.1 is 0.9 here.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **settings: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **settings)

    def _averaged(self, variance: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        # Of one value it is undefined; torch refuses to train.
        return tf.where(_values_a_channel(inputs) > 1, variance, 0.0)


def _biased(variance: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """Turns the op's unbiased batch variance [C] into the biased one that Keras averages: times (n-1)/n.

    With one value a channel (n = 1) the unbiased variance is undefined and the biased one 0.
    """
    n = tf.cast(_values_a_channel(inputs), tf.float32)
    return tf.math.multiply_no_nan(variance, (n - 1.0) / n)


def _values_a_channel(inputs: tf.Tensor) -> tf.Tensor:
    """N*H*W int32 [] of inputs [N,H,W,C].

    Not by tf.size: for that TensorFlow's mixed precision would convert the whole tensor back to float32.
    """
    return tf.reduce_prod(tf.shape(inputs)[:-1])


class FedSeed:
    """Hands the `seed` input of the train step to the layers that draw random numbers while it is traced."""

    def __init__(self) -> None:
        self.layers: list[str] = []
        """Names of the layers that draw."""
        self._seed: tf.Tensor | None = None
        self._draws = 0

    @contextmanager
    def feed(self, seed: tf.Tensor | None) -> Iterator[None]:
        """Makes seed int64 [2] (None: nothing draws) the source of all draws inside the block."""
        self._seed, self._draws = seed, 0
        try:
            yield
        finally:
            self._seed = None

    def next(self) -> tf.Tensor:
        """A seed int64 [2] for one draw, a function of the fed seed and of the draw's place in the model."""
        if self._seed is None:
            raise ValueError("a layer drew random numbers outside of the train step")
        self._draws += 1
        return tf.random.fold_in(self._seed, self._draws)


class FedDropout(keras.layers.Layer):
    """Keras's Dropout or SpatialDropout2D whose mask is a pure function of the fed seed."""

    def __init__(self, stock: keras.layers.Dropout, seed: FedSeed) -> None:
        super().__init__(name=stock.name, dtype=stock.dtype_policy)
        self.supports_masking = True
        self._rate = stock.rate
        spatial = isinstance(stock, keras.layers.SpatialDropout2D)
        self._noise_shape = (None, 1, 1, None) if spatial else stock.noise_shape
        self._seed = seed
        seed.layers.append(stock.name)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drops values of inputs [N, ...] while training and scales the rest by 1/(1-rate)."""
        if not training:
            return inputs
        noise_shape = None
        if self._noise_shape is not None:
            noise_shape = [
                tf.shape(inputs)[axis] if size is None else size
                for axis, size in enumerate(self._noise_shape)
            ]
        return tf.nn.experimental.stateless_dropout(
            inputs, self._rate, seed=self._seed.next(), noise_shape=noise_shape, rng_alg="philox"
        )

    @staticmethod
    def replaces(layer: keras.layers.Layer) -> bool:
        """Whether layer draws numbers in a way that this one can."""
        if type(layer) is keras.layers.SpatialDropout2D:
            return layer.rate > 0 and layer.data_format == "channels_last"
        return type(layer) is keras.layers.Dropout and layer.rate > 0


class FedFactor:
    """Hands the `upsample` input to what enlarges the images while train_accumulate is traced."""

    def __init__(self) -> None:
        self.layers: list[FedUpSampling] = []
        """All UpSampling2Ds that a factor can be fed to."""
        self.value: tf.Tensor | None = None
        """The factor, int64 []; None: all sizes are those that the model was built with."""

    @contextmanager
    def feed(self, value: tf.Tensor | None) -> Iterator[None]:
        """Makes value the factor inside the block."""
        self.value = value
        try:
            yield
        finally:
            self.value = None


class FedUpSampling(keras.layers.UpSampling2D):
    """Keras's UpSampling2D, which enlarges by another factor than its own where one is fed."""

    def __init__(self, stock: keras.layers.UpSampling2D, factor: FedFactor) -> None:
        super().__init__(**stock.get_config())
        self._factor = factor
        factor.layers.append(self)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Repeats the rows and columns of inputs [N,H,W,C]."""
        factor = self._factor.value
        if factor is None:
            return super().call(inputs)
        enlarged = tf.repeat(tf.repeat(inputs, factor, axis=1), factor, axis=2)
        return tf.ensure_shape(enlarged, [None, None, None, inputs.shape[-1]])

    @staticmethod
    def replaces(layer: keras.layers.Layer) -> bool:
        """Whether layer enlarges in a way that this one can."""
        return (
            type(layer) is keras.layers.UpSampling2D
            and layer.interpolation == "nearest"
            and layer.data_format == "channels_last"
            and layer.size[0] == layer.size[1]
        )
