"""What Go writes for TensorBoard and W&B, read by their own programs."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import ROOT
from .wandb_server import Server, Uploaded

PROGRAM = ROOT / "bin" / "residual"
SMALL = ROOT / "build" / "test-models" / "small"
EPOCHS, STEPS = 2, 8


def train(out: Path, *flags: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Trains on 50 drawn images; its output has the result as JSON."""
    if not PROGRAM.exists():
        pytest.fail("bin/residual is missing: run `make build`")
    common = ("--model", SMALL, "--data", "synthetic", "--limit", 50, "--batch-size", 16, "--quiet", "--json")
    done = subprocess.run(
        [PROGRAM, "train", *map(str, (*common, "--out", out, *flags))],
        env=env,
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with all logs, of 2 epochs of 4 steps."""
    out = tmp_path_factory.mktemp("runs") / "logged"
    train(out, "--epochs", EPOCHS, "--log", "tensorboard,wandb", "--project", "watched", "--name", "a name")
    return out


def rows(file: Path) -> list[dict[str, float]]:
    """A CSV file of numbers."""
    with file.open() as lines:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]


def decoded(file: bytes) -> tuple[int, int]:
    """The size of a picture, once all of it was read."""
    with Image.open(io.BytesIO(file)) as image:
        image.load()
        assert image.format == "PNG"
        return image.size


class TestTensorBoard:
    """Read by tensorboard."""

    @staticmethod
    def read(folder: Path) -> Any:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
        return events.Reload()

    def test_every_scalar_is_that_of_the_tables(self, run: Path):
        def same(folder: str, tag: str, table: str, step: str, column: str) -> None:
            expected = rows(run / table)
            events = self.read(run / "tensorboard" / folder).Scalars(tag)
            assert [event.step for event in events] == [row[step] for row in expected]
            # Both are the same float32 or double; the tables have nine digits, the events are float32.
            np.testing.assert_allclose(
                [event.value for event in events], [row[column] for row in expected], rtol=1e-7, err_msg=tag
            )

        for tag, column in {
            "batch_loss": "loss",
            "batch_accuracy": "accuracy",
            "learning_rate": "learning_rate",
            "images_per_second": "images_per_second",
        }.items():
            same("train", tag, "steps.csv", "step", column)
        for folder, split in (("train", "train"), ("validation", "test")):
            for name in ("loss", "accuracy"):
                same(folder, f"epoch_{name}", "metrics.csv", "epoch", f"{split}_{name}")

    def test_there_are_the_tags_of_keras_and_no_others(self, run: Path):
        train = self.read(run / "tensorboard" / "train")
        assert sorted(train.Tags()["scalars"]) == [
            *("batch_accuracy", "batch_loss", "epoch_accuracy", "epoch_learning_rate", "epoch_loss"),
            *("grad_norm", "images_per_second", "learning_rate"),
        ]
        assert len(train.Scalars("grad_norm")) == STEPS
        assert all(event.value > 0 for event in train.Scalars("grad_norm"))
        assert [event.step for event in train.Scalars("epoch_learning_rate")] == [1, 2]
        validation = self.read(run / "tensorboard" / "validation")
        assert sorted(validation.Tags()["scalars"]) == ["epoch_accuracy", "epoch_loss"]

    def test_the_layout_is_that_of_kerass_callback(self, run: Path, tmp_path: Path):
        """A run of Keras itself has the same folders, and no tag by epoch that ours lacks."""
        import keras

        from .helpers import blobs, scaled, small_cnn

        images, labels = blobs(12)
        model = small_cnn()
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        logger = keras.callbacks.TensorBoard(str(tmp_path), write_graph=False, update_freq="batch")
        data = (scaled(images), labels)
        model.fit(*data, validation_data=data, epochs=1, batch_size=4, verbose=0, callbacks=[logger])
        for folder in ("train", "validation"):
            tags = self.read(tmp_path / folder).Tags()["tensors"]
            wanted = {tag for tag in tags if tag.startswith(("epoch_", "batch_"))}
            assert wanted
            ours = set(self.read(run / "tensorboard" / folder).Tags()["scalars"])
            assert wanted - ours <= {"batch_steps_per_second"}

    def test_the_pictures_can_be_decoded(self, run: Path):
        for folder, tag, steps in (("train", "preview", {0}), ("validation", "confusion", {1, 2})):
            images = self.read(run / "tensorboard" / folder).Images(tag)
            assert images
            assert {image.step for image in images} <= steps
            assert max(image.step for image in images) == max(steps)
            for image in images:
                assert decoded(image.encoded_image_string) == (image.width, image.height)

    def test_the_hparams_tab_has_the_settings(self, run: Path):
        from tensorboard.plugins.hparams import api_pb2, metadata

        summaries = self.read(run / "tensorboard").summary_metadata
        content = {tag: summary.plugin_data.content for tag, summary in summaries.items()}
        start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
        settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
        config = json.loads((run / "config.json").read_text())
        assert settings == {
            "model": "small",
            **{name: config[name] for name in ("data", "epochs", "batch_size", "learning_rate", "shuffle")},
            "drop_last": False,
            "accumulate": 1.0,
            "upsample_schedule": "",
            **{
                name: config[name]
                for name in ("schedule", "warmup", "plateau", "early_stopping", "validation_split")
            },
            **{name: config[name] for name in ("seed", "limit", "precision", "recipe", "loss")},
        }
        experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
        assert {info.name for info in experiment.hparam_infos} == set(settings)
        metrics = {(info.name.group, info.name.tag) for info in experiment.metric_infos}
        assert metrics == {
            (folder, f"epoch_{name}") for folder in ("train", "validation") for name in ("loss", "accuracy")
        }
        for folder, tag in metrics:
            assert self.read(run / "tensorboard" / folder).Scalars(tag)
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        assert end.status == api_pb2.STATUS_SUCCESS
        assert end.end_time_secs >= start.start_time_secs > 1.7e9


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def environment(server: Server, home: Path) -> dict[str, str]:
    """Where W&B's program finds the server, and nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "HOME": str(home),
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": "0123456789" * 4,
        "WANDB_ERROR_REPORTING": "false",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def sync(server: Server, home: Path, folder: Path) -> None:
    """Uploads a run with W&B's own program."""
    done = subprocess.run(
        [Path(sys.executable).with_name("wandb"), "sync", folder],
        env=environment(server, home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def offline(folder: Path) -> Path:
    """The one offline run in a folder."""
    (found,) = (folder / "wandb").glob("offline-run-*")
    return found


@pytest.fixture(scope="module")
def uploaded(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Uploaded:
    """What the server has of the run."""
    server = Server()
    folder = offline(run)
    sync(server, tmp_path_factory.mktemp("home"), folder)
    server.shutdown()
    server.server_close()
    assert list(server.runs) == [folder.name.rsplit("-", 1)[1]]
    return next(iter(server.runs.values()))


class TestWandB:
    """Uploaded by `wandb sync`."""

    def test_every_value_arrives(self, run: Path, uploaded: Uploaded):
        def same(axis: str, table: str, columns: dict[str, str]) -> None:
            got = [row for row in uploaded.history if next(iter(columns)) in row]
            expected = rows(run / table)
            assert [row[axis] for row in got] == [row[axis] for row in expected]
            for key, column in columns.items():
                # The tables have nine digits.
                np.testing.assert_allclose(
                    [row[key] for row in got], [row[column] for row in expected], rtol=1e-8, err_msg=key
                )

        steps = ("loss", "accuracy", "learning_rate", "images_per_second")
        epochs = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
        same("step", "steps.csv", {f"train/{name}": name for name in steps})
        same("epoch", "metrics.csv", {f"epoch/{name}": name for name in epochs})
        assert len([row for row in uploaded.history if row.get("train/grad_norm", 0) > 0]) == STEPS

    def test_steps_grow_strictly(self, uploaded: Uploaded):
        steps = [row["_step"] for row in uploaded.history]
        assert steps == sorted(set(steps))
        assert steps[0] == 0

    def test_metrics_have_their_axes(self, uploaded: Uploaded):
        metrics = json.loads(uploaded.upserts[-1]["config"])["_wandb"]["value"]["m"]
        # As wandb encodes metrics: 1 is a name, 2 a glob, 5 the place of its axis among metrics, from 1.
        axes = {m["2"]: metrics[m["5"] - 1]["1"] for m in metrics if "2" in m}
        assert axes == {"train/*": "step", "epoch/*": "epoch"}

    def test_the_settings_and_the_name_arrive(self, run: Path, uploaded: Uploaded):
        assert uploaded.config == json.loads((run / "config.json").read_text())
        assert uploaded.upserts[0]["project"] == "watched"
        assert uploaded.upserts[0]["displayName"] == "a name"

    def test_the_summary_is_the_last_of_each(self, uploaded: Uploaded):
        last: dict[str, Any] = {}
        for row in uploaded.history:
            last.update(row)
        assert uploaded.summary == last

    def test_the_pictures_arrive(self, uploaded: Uploaded):
        found = [
            (key, value)
            for row in uploaded.history
            for key, value in row.items()
            if isinstance(value, dict) and value.get("_type") == "image-file"
        ]
        assert {key for key, _ in found} == {"preview", "epoch/confusion"}
        for _, picture in found:
            file = uploaded.files[picture["path"]]
            assert decoded(file) == (picture["width"], picture["height"])
            assert len(file) == picture["size"]

    def test_the_machine_is_described(self, uploaded: Uploaded):
        metadata = json.loads(uploaded.files["wandb-metadata.json"])
        assert metadata["cpu_count"] == os.cpu_count()
        assert metadata["args"][0] == "train"
        assert metadata["go"].startswith("go1.")
        assert int(metadata["memory"]["total"]) > 1 << 28
        assert {"os", "host", "program", "startedAt"} <= metadata.keys()

    def test_the_run_is_whole(self, uploaded: Uploaded):
        assert uploaded.complete
        assert uploaded.exit_code == 0

    def test_the_program_uploads_by_itself(self, server: Server, tmp_path: Path):
        flags = ("--epochs", 1, "--log", "wandb", "--wandb-sync")
        done = train(tmp_path / "run", *flags, env=environment(server, tmp_path))
        result = json.loads(done.stdout)
        assert "warnings" not in result
        assert "Finished syncing" in done.stderr
        assert not (tmp_path / "wandb").exists(), "it left something where it was called"
        (uploaded,) = server.runs.values()
        assert result["logs"]["wandb"].endswith(next(iter(server.runs)))
        assert uploaded.summary["epoch/test_loss"] == pytest.approx(result["test"]["loss"], rel=1e-12)

    def test_a_resumed_run_is_one_run(self, server: Server, tmp_path: Path):
        """One log where nothing was uploaded before, else a second one with the rest."""
        subprocess.run(
            ["go", "test", "./pipeline/callback", "-count=1", "-run", "^TestWandBResumes"],
            cwd=ROOT,
            env={**os.environ, "RESIDUAL_TEST_WANDB": str(tmp_path)},
            check=True,
            capture_output=True,
            timeout=300,
        )
        sync(server, tmp_path, offline(tmp_path / "one"))
        (whole,) = server.runs.values()
        assert [row["step"] for row in whole.history if "step" in row] == list(range(1, 13))
        assert [row["epoch"] for row in whole.history if "epoch/train_loss" in row] == [1, 2, 3, 4]
        steps = [row["_step"] for row in whole.history]
        assert steps == sorted(set(steps))
        assert whole.exit_code == 0

        first, second = sorted((tmp_path / "two" / "wandb").glob("offline-run-*"))
        (first / f"run-{first.name[-8:]}.wandb.synced").unlink()
        sync(server, tmp_path, first)
        (parts,) = (run for run in server.runs.values() if run is not whole)
        assert parts.exit_code == 255  # it was interrupted
        before = list(parts.history)
        sync(server, tmp_path, second)
        assert len(server.runs) == 2
        assert parts.history[: len(before)] == before
        after = [row["step"] for row in parts.history[len(before) :] if "step" in row]
        assert after == list(range(7, 13))
        assert parts.exit_code == 0
