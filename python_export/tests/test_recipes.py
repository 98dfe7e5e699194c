"""The article's model: its layer table, its counts, its weights by seed."""

import json

import keras
import numpy as np

from python_export import recipes

from .helpers import values


def table_of(model: keras.Model) -> list[tuple[str, str, str]]:
    """The rows of model.summary(): (layer with type, shape, parameters)."""
    lines: list[str] = []
    model.summary(line_length=160, print_fn=lambda text, line_break=True: lines.extend(text.splitlines()))
    rows = [tuple(cell.strip() for cell in line.split("│")[1:-1]) for line in lines if line.startswith("│")]
    return [row for row in rows if len(row) == 3]


def test_layers_and_counts_are_the_articles(full):
    assert [
        (row["name"], row["class"], row["output_shape"], row["parameters"])
        for row in full.description["layers"]
    ] == [
        ("input_layer", "InputLayer", [None, 32, 32, 3], 0),
        ("up_sampling2d", "UpSampling2D", [None, 32, 32, 3], 0),
        ("resnet50", "Functional", [None, 1, 1, 2048], 23_587_712),
        ("global_average_pooling2d", "GlobalAveragePooling2D", [None, 2048], 0),
        ("flatten", "Flatten", [None, 2048], 0),
        ("dense", "Dense", [None, 1024], 2_098_176),
        ("dense_1", "Dense", [None, 512], 524_800),
        ("classification", "Dense", [None, 10], 5_130),
    ]
    counts = {"total": 26_215_818, "trainable": 26_162_698, "non_trainable": 53_120}
    assert full.description["parameters"] == counts


def test_table_is_what_keras_prints(full, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # rich cuts lines there
    printed = table_of(keras.models.load_model(full.keras_file))
    described = [
        (f"{row['name']} ({row['class']})", str(tuple(row["output_shape"])), f"{row['parameters']:,}")
        for row in full.description["layers"]
    ]
    assert printed == described


def test_default_upsampling_is_seven_times():
    model = recipes.keras_resnet50(classes=10, image_size=32, upsample=7)
    assert model.get_layer("up_sampling2d").output.shape == (None, 224, 224, 3)
    assert model.get_layer("resnet50").output.shape == (None, 7, 7, 2048)
    assert model.get_layer("dense").activation is keras.activations.relu
    assert model.get_layer("classification").activation is keras.activations.softmax
    assert model.count_params() == 26_215_818


def test_weights_follow_from_the_seed_in_every_process(full):
    exported = values(full.folder)

    def differing(seed: int) -> set[str]:
        keras.utils.set_random_seed(seed)
        from python_export.names import named_weights

        model = recipes.keras_resnet50(classes=10, image_size=32, upsample=1)
        pairs = {
            path: (exported[f"weights/{path}"], weight.numpy())
            for path, weight in named_weights(model).items()
        }
        assert len(pairs) == 324
        return {path for path, (there, here) in pairs.items() if not np.array_equal(there, here)}

    assert differing(seed=0) == set()
    assert differing(seed=1) == {
        name.removeprefix("weights/") for name in exported if name.endswith("/kernel")
    }


def test_upsampling_repeats_pixels():
    layer = recipes.keras_resnet50(classes=2, image_size=8, upsample=4).get_layer("up_sampling2d")
    image = np.arange(8 * 8 * 3, dtype=np.float32).reshape(1, 8, 8, 3)
    assert np.array_equal(layer(image), image.repeat(4, axis=1).repeat(4, axis=2))


def test_description_is_complete(full):
    description = full.description
    versions = description.pop("versions")
    assert set(versions) == {"residual", "tensorflow", "keras", "python"}
    assert versions["keras"] == keras.__version__
    del description["layers"], description["parameters"]
    config = description["optimizer"].pop("config")
    assert (config["learning_rate"], config["momentum"], config["nesterov"]) == (0.01, 0.0, False)
    assert description == {
        "format": 1,
        "recipe": "keras",
        "name": "resnet50_classifier",
        "classes": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        "image": {"height": 32, "width": 32, "channels": 3},
        "upsample": 1,
        "precision": "float32",
        "batch_norm": "fused",
        "preprocess": {"divide": 255.0, "mean": [0.0], "std": [1.0], "channels": "RGB", "size": None},
        "from_logits": False,
        "softmax_twice": False,
        "resize": {"rule": "shorter-side-centre-crop", "interpolation": "linear"},
        "loss": "sparse_categorical_crossentropy",
        "optimizer": {"name": "SGD"},
        "random_layers": [],
        "head": ["dense", "dense_1", "classification"],
        "defaults": {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, "shuffle": True},
        "weights": "random",
        "seed": 0,
    }


def test_description_is_pretty_and_in_hand_order(full):
    text = (full.folder / "assets.extra" / "residual.json").read_text()
    assert '"output_shape": [null, 32, 32, 3]' in text
    assert list(json.loads(text))[:4] == ["format", "recipe", "name", "classes"]
    assert list(json.loads(text))[-1] == "versions"
