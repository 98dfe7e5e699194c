"""Torch state dicts in files: what is read, what is refused, and the way there and back."""

import http.server
import io
import pickle
import struct
import threading
import zipfile
from collections import OrderedDict
from pathlib import Path

import keras
import numpy as np
import pytest

from python_export import ExportError, hub, recipes, state_dict, weights
from python_export.resnet_torch import classifier

ARRAYS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(4, 6),
    "a.bias": np.array([0.5, -1.5], np.float32),
    "a.half": np.array([1, 2, 3], np.float16),
    "a.num_batches_tracked": np.array(7, np.int64),
    "a.empty": np.zeros((0, 3), np.float32),
}
KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Storage:
    """What pickles as torch pickles a storage: by a persistent id."""

    def __init__(self, key: str, array: np.ndarray) -> None:
        self.key, self.array = key, array


class Name:
    """A class or function of torch, of which a pickle holds only the name."""

    def __init__(self, module: str, name: str) -> None:
        self.line = f"c{module}\n{name}\n".encode()

    def __call__(self) -> None:
        raise AssertionError("it is only named")


class Rebuilt:
    """What pickles as torch pickles a tensor."""

    def __init__(self, storage: Storage, size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> None:
        self.arguments = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self) -> tuple:
        return Name("torch._utils", "_rebuild_tensor_v2"), self.arguments


class Pickler(pickle._Pickler):
    """Python's own pickler, since it can write names of modules that are not installed."""

    def persistent_id(self, obj: object) -> object:
        if not isinstance(obj, Storage):
            return None
        kind = Name("torch", KINDS[obj.array.dtype.name])
        return ("storage", kind, obj.key, "cpu", obj.array.size, *((None,) if self.legacy else ()))

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Name):
            self.write(obj.line)
        else:
            super().save(obj, save_persistent_id)


def dump(file: io.IOBase, obj: object, *, legacy: bool) -> None:
    pickler = Pickler(file, protocol=2)
    pickler.legacy = legacy
    pickler.dump(obj)


def tensors(arrays: dict[str, np.ndarray]) -> tuple[OrderedDict, list[Storage]]:
    """A state dict to pickle; the first tensor is a transposed view with an offset."""
    state, storages = OrderedDict(), []
    for number, (name, array) in enumerate(arrays.items()):
        storage = Storage(str(number), array.copy(order="C"))
        strides = tuple(step // array.itemsize for step in storage.array.strides)
        offset = 0
        if number == 0:
            padded = np.concatenate([np.full(5, -9, np.float32), array.ravel(order="F")])
            strides = tuple(int(step) for step in np.cumprod([1, *array.shape[:-1]]))
            storage, offset = Storage("0", padded), 5
        storages.append(storage)
        state[name] = Rebuilt(storage, array.shape, strides, offset)
    return state, storages


def write_zip(path: Path, arrays: dict[str, np.ndarray]) -> None:
    state, storages = tensors(arrays)
    pickled = io.BytesIO()
    dump(pickled, state, legacy=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        for storage in storages:
            archive.writestr(f"archive/data/{storage.key}", storage.array.tobytes())


def write_legacy(path: Path, arrays: dict[str, np.ndarray]) -> None:
    state, storages = tensors(arrays)
    with path.open("wb") as file:
        for plain in (state_dict.MAGIC, 1001, {"little_endian": True}):
            pickle.dump(plain, file, protocol=2)
        dump(file, state, legacy=True)
        pickle.dump([storage.key for storage in storages], file, protocol=2)
        for storage in storages:
            file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())


WRITERS = {
    "zip.pth": write_zip,
    "legacy.pth": write_legacy,
    "new.safetensors": lambda path, arrays: state_dict.write(path, arrays),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_are_read(tmp_path, name):
    WRITERS[name](tmp_path / name, ARRAYS)
    found = state_dict.read(tmp_path / name)
    assert found.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        assert found[key].dtype == array.dtype
        assert np.array_equal(found[key], array), key


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_cut_short_is_refused(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path, ARRAYS)
    whole = path.read_bytes()
    for length in (0, 1, 2, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ExportError, match=rf'"{path}" cannot be read as {path.suffix}: .'):
            state_dict.read(path)


class Evil:
    """Runs a command when it is unpickled by pickle itself."""

    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (Evil(), "holds a __builtin__.exec, expected a state dict"),
        ([1, 2], "holds a list, expected a state dict"),
        ({"epoch": 3}, r"holds no tensors but \['epoch'\], expected model.state_dict\(\) itself"),
    ],
)
def test_other_contents_are_refused_and_nothing_in_them_runs(tmp_path, content, sentence):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
    with pytest.raises(ExportError, match=sentence):
        state_dict.read(path)


@pytest.mark.parametrize(
    ("size", "stride", "unpacked", "sentence"),
    [
        ((2, 3), (3, 1), 16, "a tensor lies outside of its storage"),
        ((40_000, 40_000), (0, 0), 16, "a tensor of 1600000000 numbers has a storage of 4"),
        ((2, 2), (2, 1), 1 << 20, "storage 0 has 1048576 bytes, expected 16"),
    ],
)
def test_a_tensor_that_its_storage_does_not_hold_is_refused(tmp_path, size, stride, unpacked, sentence):
    state = {"a": Rebuilt(Storage("0", np.zeros(4, np.float32)), size, stride, 0)}
    pickled = io.BytesIO()
    dump(pickled, state, legacy=False)
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/data/0", bytes(unpacked))
    with pytest.raises(ExportError, match=sentence):
        state_dict.read(tmp_path / "x.pth")


@pytest.fixture(scope="module")
def donor() -> dict[str, np.ndarray]:
    """The article's module after training on 3 batches, with random weights."""
    keras.utils.set_random_seed(1)
    return weights.as_state_dict(classifier(10, 32, softmax=True), batches=3)


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(2)
    return classifier(10, 32, softmax=True)


def same(model: keras.Model, arrays: dict[str, np.ndarray]) -> set[str]:
    """The names in arrays whose values the model has."""
    ours = weights.as_state_dict(model, batches=3)
    return {key for key in arrays if np.array_equal(ours[key], arrays[key])}


def test_names_and_shapes_are_torchs(donor):
    assert len(donor) == 165 + 106 + 53
    assert donor["resnet.conv1.weight"].shape == (64, 3, 7, 7)
    assert donor["resnet.layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert donor["resnet.layer4.2.bn3.running_var"].shape == (2048,)
    assert donor["resnet.layer4.2.bn3.num_batches_tracked"] == 3
    assert donor["classifier.5.weight"].shape == (10, 512)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", WRITERS)
def test_the_articles_module_fills_all(tmp_path, donor, model, name, prefix):
    WRITERS[name](tmp_path / name, {prefix + key: array for key, array in donor.items()})
    weights.load(model, str(tmp_path / name))
    assert same(model, donor) == donor.keys()


def torchvisions(donor: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = {key.removeprefix("resnet."): v for key, v in donor.items() if key.startswith("resnet.")}
    return found | {"fc.weight": np.ones((1000, 2048), np.float32), "fc.bias": np.ones(1000, np.float32)}


def test_torchvisions_resnet50_fills_the_backbone(tmp_path, donor, model):
    head = weights.as_state_dict(model, batches=3)
    state_dict.write(tmp_path / "r.safetensors", torchvisions(donor))
    weights.load(model, str(tmp_path / "r.safetensors"))
    now = same(model, donor)
    assert {key for key in donor if key.startswith("resnet.")} <= now
    assert {key for key in head if key.startswith("classifier.")} <= same(model, head)


def test_the_articles_classifier_may_stand_in_torchvisions_place(tmp_path, donor, model):
    inside = {key.removeprefix("resnet.").replace("classifier.", "fc."): v for key, v in donor.items()}
    state_dict.write(tmp_path / "r.safetensors", inside)
    assert weights.load(model, str(tmp_path / "r.safetensors")) == "r.safetensors, the whole model"
    assert same(model, donor) == donor.keys()


def test_what_is_left_out_is_said(tmp_path, donor, model):
    state_dict.write(tmp_path / "r.safetensors", torchvisions(donor))
    said = weights.load(model, str(tmp_path / "r.safetensors"))
    assert said == 'r.safetensors, the backbone; the head is random; left out: "fc.bias" and 1 more'


def spoiled(donor: dict[str, np.ndarray]) -> dict[str, tuple[dict[str, np.ndarray], str]]:
    lost = {key: value for key, value in donor.items() if key != "resnet.bn1.bias"}
    wide = donor | {"classifier.5.weight": np.ones((7, 512), np.float32)}
    infinite = donor | {"classifier.5.bias": np.full(10, np.inf, np.float32)}
    return {
        "lacks one": (lost, 'lacks "resnet.bn1.bias"'),
        "one more": (
            donor | {"resnet.fc.bias": np.ones(3)},
            'holds "resnet.fc.bias", which the model does not have',
        ),
        "another shape": (wide, r"holds classifier.5.weight of shape \(7, 512\), expected \(10, 512\)"),
        "not finite": (infinite, "holds numbers that are not finite"),
        "another model": (
            {"features.0.weight": np.ones(3)},
            'lacks "resnet.bn1.bias" and 264 more, .* and holds "resnet.features.0.weight"',
        ),
    }


@pytest.mark.parametrize("case", ["lacks one", "one more", "another shape", "not finite", "another model"])
def test_a_state_dict_that_does_not_fit_is_refused_by_name(tmp_path, donor, model, case):
    arrays, sentence = spoiled(donor)[case]
    state_dict.write(tmp_path / "x.safetensors", arrays)
    with pytest.raises(ExportError, match=sentence):
        weights.load(model, str(tmp_path / "x.safetensors"))


def test_the_keras_recipe_takes_no_state_dict(tmp_path, donor):
    state_dict.write(tmp_path / "x.safetensors", donor)
    with pytest.raises(ExportError, match="is a state dict, which is for --recipe pytorch"):
        weights.load(recipes.keras_resnet50(10, 32, 1), str(tmp_path / "x.safetensors"))


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path/www on a port of its own; gives the URL."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_imagenet_is_torchvisions_file_kept_where_torch_keeps_it(tmp_path, donor, model, server, monkeypatch):
    state_dict_file = tmp_path / "www" / "resnet50.pth"
    write_legacy(state_dict_file, torchvisions(donor))
    digest = hub.hashlib.sha256(state_dict_file.read_bytes()).hexdigest()
    name = f"resnet50-{digest[:8]}.pth"
    state_dict_file.rename(tmp_path / "www" / name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(hub, "RESNET50", f"{server}/{name}")
    weights.load(model, "imagenet")
    kept = tmp_path / "torch" / "hub" / "checkpoints" / name
    assert [path.name for path in kept.parent.iterdir()] == [name]
    assert {key for key in donor if key.startswith("resnet.")} <= same(model, donor)
    (tmp_path / "www" / name).unlink()
    weights.load(model, "imagenet")  # not downloaded again
    kept.write_bytes(b"damaged")
    with pytest.raises(ExportError, match=f"which {name} does not: remove it and try again"):
        weights.load(model, "imagenet")


def test_a_damaged_download_is_not_kept(tmp_path, server):
    (tmp_path / "www" / "x-0123456789.pth").write_bytes(b"something else")
    with pytest.raises(ExportError, match="has the SHA-256"):
        hub.fetch(f"{server}/x-0123456789.pth", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_imagenet_offline_names_the_other_ways(tmp_path, model, server, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(hub, "RESNET50", f"{server}/resnet50-0676ba61.pth")
    with pytest.raises(ExportError, match=r"cannot be downloaded \(HTTP Error 404.*\): use --weights random"):
        weights.load(model, "imagenet")
