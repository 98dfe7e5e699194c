"""The exported copy of a Keras model: the same weights in faster layers."""

from __future__ import annotations

from dataclasses import dataclass, field

import keras

from .convolution import ProductConv2D
from .errors import ExportError
from .layers import FedDropout, FedFactor, FedSeed, FedUpSampling, FusedBatchNorm
from .names import named_weights
from .split import Split, split


@dataclass(frozen=True)
class Clone:
    """A model ready to be traced."""

    model: keras.Model
    seed: FedSeed
    """Feeds the layers that draw random numbers; seed.layers is empty when there are none."""
    batch_norm: str
    """What the BatchNorms are computed by in fact: "fused" or "keras"."""
    notes: tuple[str, ...]
    """Sentences for the user about what could not be swapped."""
    cancelled: tuple[keras.Variable, ...] = ()
    """Biases whose gradient is zero by construction, see `_cancelled_biases`."""
    parts: Split | None = None
    """Backbone and head, if the model has them."""
    factor: FedFactor = field(default_factory=FedFactor)
    """Feeds the layers that enlarge images; factor.layers is empty when there are none."""


PRECISIONS = ("float32", "bfloat16", "float16")
"""What layers can compute in. Weights, statistics and what comes out of the model are float32."""


def precision_of(model: keras.Model) -> str:
    """What the model's layers compute in, one of PRECISIONS: a half if any of them does."""
    computed = {layer.compute_dtype for layer in model._flatten_layers()}
    return next((half for half in ("float16", "bfloat16") if half in computed), "float32")


def clone(model: keras.Model, batch_norm: str, precision: str = "float32") -> Clone:
    """Copies a built model, with BatchNorms swapped if batch_norm is "fused" and Dropouts fed by a seed.

    Layers of float32 but for the last one compute in the precision, one of PRECISIONS, by Keras's policies
    such as mixed_bfloat16. A model that is not Functional or Sequential throughout cannot be copied: it is
    returned as it is.
    Raises ExportError if a layer would draw random numbers that no seed determines, or if the model cannot
    be of the precision.
    """
    seed, factor = FedSeed(), FedFactor()
    if batch_norm == "keras" and any(isinstance(layer, FusedBatchNorm) for layer in model._flatten_layers()):
        raise ExportError(
            'the model has BatchNorms of its own kind, which batch_norm="keras" cannot swap back'
        )
    if not _is_graph_of_layers(model):
        if precision != "float32":
            raise ExportError(
                f'model "{model.name}" is subclassed, so its layers cannot be made {precision}: '
                f'build it under keras.config.set_dtype_policy("mixed_{precision}")'
            )
        result = Clone(
            model, seed, "keras", (f'model "{model.name}" is subclassed: exported with its stock layers',)
        )
    else:
        last = _last(model)
        copy = keras.models.clone_model(
            model,
            clone_function=lambda layer: _swap(
                layer, batch_norm == "fused", "float32" if layer is last else precision, seed, factor
            ),
            recursive=True,
        )
        if _layout(copy) != _layout(model):
            raise ExportError(f'model "{model.name}" shares weights between layers, which cannot be copied')
        copy.set_weights(model.get_weights())
        result = Clone(copy, seed, batch_norm, (), _cancelled_biases(copy), split(copy), factor)
    _refuse_unfed_randomness(result.model)
    return result


def _swap(
    layer: keras.layers.Layer, fused: bool, precision: str, seed: FedSeed, factor: FedFactor
) -> keras.layers.Layer:
    config = layer.get_config()
    fusable = isinstance(layer, FusedBatchNorm) or (fused and type(layer) is keras.layers.BatchNormalization)
    recast = precision != "float32" and layer.dtype_policy.name == "float32"
    if recast and not fusable and not isinstance(layer, keras.layers.InputLayer):
        config["dtype"] = f"mixed_{precision}"
    if fusable:
        kind = type(layer) if isinstance(layer, FusedBatchNorm) else FusedBatchNorm
        swapped = kind.from_config(config)
        swapped.autocast = precision == "float32"  # the op takes halves, with float32 weights and statistics
        return swapped
    if fused and type(layer) is keras.layers.Conv2D:
        return ProductConv2D.from_config(config)
    copy = layer.__class__.from_config(config)
    if FedDropout.replaces(copy):
        return FedDropout(copy, seed)
    if FedUpSampling.replaces(copy):
        return FedUpSampling(copy, factor)
    return copy


def _last(model: keras.Model) -> keras.layers.Layer:
    """The layer whose output is the model's."""
    layer = model.outputs[0]._keras_history.operation
    return _last(layer) if isinstance(layer, keras.Model) else layer


def _cancelled_biases(model: keras.Model) -> tuple[keras.Variable, ...]:
    """The biases of convolutions that feed nothing but a FusedBatchNorm which trains.

    The batch's mean is subtracted right after such a bias is added, so no loss depends on it: its gradient is
    zero, of which autodiff finds rounding noise by summing the largest tensors of the model once more.
    """
    results = {id(tensor) for each in _models(model) for tensor in each.outputs}

    def cancelled(layer: keras.layers.Layer) -> bool:
        if not (isinstance(layer, keras.layers.Conv2D) and layer.use_bias and layer.trainable):
            return False
        readers = [node.operation for node in layer._outbound_nodes]
        return (
            len(layer._inbound_nodes) == len(readers) == 1
            and id(layer.output) not in results
            and isinstance(readers[0], FusedBatchNorm)
            and readers[0].trainable
            and readers[0].fits(layer.output)
            and layer.activation is keras.activations.linear
            and layer.bias_regularizer is None
        )

    return tuple(layer.bias for layer in model._flatten_layers() if cancelled(layer))


def _models(model: keras.Model) -> list[keras.Model]:
    """The model and all models in it."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.Model)]


def _is_graph_of_layers(model: keras.Model) -> bool:
    """Whether the model and all models in it are Keras's Functional or Sequential, which are their graphs."""
    return all(
        type(each).__module__.startswith("keras.") and type(each).__name__ in ("Functional", "Sequential")
        for each in _models(model)
    )


def _layout(model: keras.Model) -> list[tuple[str, tuple[int, ...], bool]]:
    return [(path, tuple(weight.shape), weight.trainable) for path, weight in named_weights(model).items()]


def _refuse_unfed_randomness(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if any(isinstance(value, keras.random.SeedGenerator) for value in vars(layer).values()):
            raise ExportError(
                f'layer "{layer.name}" ({type(layer).__name__}) draws random numbers that no seed can '
                "determine: expected only Dropout and SpatialDropout2D, in a Functional or Sequential model"
            )
