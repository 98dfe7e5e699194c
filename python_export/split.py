"""Where a classifier's backbone ends and its head begins."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from .layers import FedDropout


@dataclass(frozen=True)
class Split:
    """A model in two parts that share its weights."""

    backbone: keras.Model
    """Images to features float32 [N,features]."""
    head: keras.Model
    """Features to the model's outputs."""
    layers: tuple[str, ...]
    """The names of the head's layers, from features to outputs."""

    @property
    def features(self) -> int:
        """Numbers that an image becomes."""
        return self.backbone.outputs[0].shape[-1]


def split(model: keras.Model) -> Split | None:
    """Parts a Functional or Sequential model before the layers at its end that take one vector and give one.

    Layers at the beginning of those that neither have weights nor draw are the backbone's: what they do need
    not be done again. None where there is no such part with weights to train, or nothing with weights before.
    """
    chain = _chain(model)
    while chain and not _counts(chain[0][0]):
        chain.pop(0)
    if not chain:
        return None
    features = chain[0][1]
    backbone = keras.Model(model.inputs[0], features, name="backbone")
    head = keras.Model(features, model.outputs[0], name="head")
    shared = {id(weight) for weight in backbone.weights} & {id(weight) for weight in head.weights}
    if not backbone.weights or not head.trainable_weights or shared:
        return None
    return Split(backbone, head, tuple(layer.name for layer, _ in chain))


def _chain(model: keras.Model) -> list[tuple[keras.Operation, keras.KerasTensor]]:
    """The layers at a model's end that take one vector, each with what it takes, in their order."""
    chain: list[tuple[keras.Operation, keras.KerasTensor]] = []
    (tensor,) = model.outputs
    while True:
        layer, node, _ = tensor._keras_history
        taken = layer._inbound_nodes[node].input_tensors
        if len(taken) != 1 or len(taken[0].shape) != 2 or taken[0].shape[-1] is None:
            return chain
        (tensor,) = taken
        chain.insert(0, (layer, tensor))


def _counts(layer: keras.Operation) -> bool:
    """Whether a layer has weights or draws random numbers; plain operations such as keras.ops do neither."""
    return isinstance(layer, keras.Layer) and (
        bool(layer.weights) or any(isinstance(each, FedDropout) for each in layer._flatten_layers())
    )
