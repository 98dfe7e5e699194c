"""The way back: trained weights as a stock Keras model or a torch state dict."""

import json
import shutil

import keras
import numpy as np
import pytest

from python_export import ExportError, export, recipes, state_dict
from python_export.extract import extract

from .helpers import Driver, blobs, names, scaled, small_cnn

IMAGES, LABELS = blobs(8, classes=10, side=32)


def trained(folder, copy):
    """A copy of an exported model after two steps, and its probabilities of IMAGES."""
    shutil.copytree(folder, copy)
    with Driver(folder) as driver:
        for _ in range(2):
            driver.call("train", images=IMAGES, labels=LABELS, learning_rate=0.01)
        driver.save(copy / "variables" / "variables")
        return driver.call("serving_default", images=IMAGES)["probabilities"]


@pytest.fixture(scope="module")
def pytorch(tmp_path_factory, command_line):
    """The PyTorch recipe at upsampling 1, trained: folder and probabilities."""
    folder = tmp_path_factory.mktemp("pytorch")
    done = command_line("export", "--recipe", "pytorch", "--upsample", 1, "--out", folder / "model", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["parameters"]["total"] == 26_189_258
    return folder / "trained", trained(folder / "model", folder / "trained")


@pytest.mark.parametrize("suffix", [".safetensors", ".keras"])
def test_a_trained_pytorch_recipe_goes_there_and_back(pytorch, tmp_path, command_line, suffix):
    folder, probabilities = pytorch
    file = tmp_path / f"trained{suffix}"
    done = command_line("weights", "--model", folder, "--out", file)
    assert done.returncode == 0, done.stderr
    first, *more = done.stdout.splitlines()
    assert first == f"wrote 26,189,258 parameters to {file}"
    assert ["import python_export.layers" in line for line in more] == [True] * (suffix == ".keras")
    again = tmp_path / "again"
    done = command_line("export", "--recipe", "pytorch", "--upsample", 1, "--weights", file, "--out", again)
    assert done.returncode == 0, done.stderr
    with Driver(again) as driver:
        answer = driver.call("serving_default", images=IMAGES)["probabilities"]
    np.testing.assert_allclose(answer, probabilities, atol=1e-5)


def test_a_state_dict_counts_the_batches(pytorch, tmp_path):
    extract(pytorch[0], tmp_path / "x.safetensors")
    assert state_dict.read(tmp_path / "x.safetensors")["resnet.bn1.num_batches_tracked"] == 2


def test_keras_file_predicts_as_the_trained_model(full, tmp_path):
    probabilities = trained(full.folder, tmp_path / "trained")
    extract(tmp_path / "trained", tmp_path / "x.keras")
    stock = keras.models.load_model(tmp_path / "x.keras")
    assert {type(layer).__module__.split(".")[0] for layer in stock._flatten_layers()} == {"keras"}
    np.testing.assert_allclose(stock.predict(scaled(IMAGES), verbose=0), probabilities, atol=1e-5)
    with pytest.raises(ExportError, match="only that has a state dict"):
        extract(tmp_path / "trained", tmp_path / "x.safetensors")


def test_a_model_of_the_users_own_needs_its_keras_file(tmp_path):
    model = small_cnn()
    folder = export(model, tmp_path / "m", classes=names(3), save_keras=tmp_path / "stock.keras").path
    images, labels = blobs(8)
    with Driver(folder) as driver:
        driver.call("train", images=images, labels=labels, learning_rate=0.1)
        probabilities = driver.call("serving_default", images=images)["probabilities"]
        driver.save(folder / "variables" / "variables")
    with pytest.raises(ExportError, match=r"of no recipe.*--keras FILE"):
        extract(folder, tmp_path / "x.keras")
    filled = extract(folder, tmp_path / "x.keras", tmp_path / "stock.keras")
    np.testing.assert_allclose(filled.predict(scaled(images), verbose=0), probabilities, atol=1e-5)
    other = small_cnn(classes=4)
    other.save(tmp_path / "other.keras")
    with pytest.raises(ExportError, match=r"has shape .* for head/.*it is another model"):
        extract(folder, tmp_path / "y.keras", tmp_path / "other.keras")
    assert not (tmp_path / "y.keras").exists()


def test_damaged_variables_are_one_sentence(pytorch, tmp_path):
    shutil.copytree(pytorch[0], tmp_path / "m")
    data = tmp_path / "m" / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(ExportError, match=r"the variables of .* cannot be read"):
        extract(tmp_path / "m", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("part", [{"image": None}, {"upsample": "x"}, {"classes": 7}])
def test_a_senseless_description_is_one_sentence(pytorch, tmp_path, part):
    shutil.copytree(pytorch[0], tmp_path / "m")
    place = tmp_path / "m" / "assets.extra" / "residual.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | part))
    with pytest.raises(ExportError):
        extract(tmp_path / "m", tmp_path / "x.safetensors")


def test_refusals(pytorch, tmp_path, command_line):
    folder = pytorch[0]
    (tmp_path / "there.keras").write_text("mine")
    for arguments, code, sentence in (
        (("--model", folder, "--out", tmp_path / "there.keras"), 1, "exists already"),
        (("--model", tmp_path, "--out", tmp_path / "x.keras"), 1, "is no model that python_export made"),
        (
            ("--model", folder, "--out", tmp_path / "x.h5"),
            2,
            "is not a file name ending in .keras or .safetensors",
        ),
        (("--out", tmp_path / "x.keras"), 2, "--model"),
    ):
        done = command_line("weights", *arguments)
        assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
        assert done.stderr.count("\n") == 1
    assert (tmp_path / "there.keras").read_text() == "mine"


def test_loss_logits_is_the_sound_version():
    published = recipes.pytorch_system(10, 32, 1, logits=False)
    sound = recipes.pytorch_system(10, 32, 1, logits=True)
    assert (published.loss, sound.loss) == ("softmax-twice", "logits")
    assert published.model.layers[-1].name == "classifier.6"
    assert sound.model.layers[-1].name == "classifier.5"
