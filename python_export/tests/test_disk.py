"""Whole or not at all."""

from pathlib import Path

import pytest

from python_export import ExportError
from python_export.disk import whole


def test_all_targets_appear_together(tmp_path):
    folder, file = tmp_path / "a" / "b" / "model", tmp_path / "c" / "file"
    with whole(folder, file) as paths:
        paths[0].mkdir()
        (paths[0] / "x").write_text("1")
        paths[1].write_text("2")
        assert not folder.exists()
        assert not file.exists()
    assert (folder / "x").read_text() == "1"
    assert file.read_text() == "2"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c", "file", "model", "x"]


def test_relative_names_are_those_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with whole(Path("new/model")) as [path]:
        path.write_text("1")
    assert (tmp_path / "new" / "model").read_text() == "1"


def test_an_error_takes_everything_back(tmp_path):
    (tmp_path / "kept").mkdir()

    def write() -> None:
        with whole(tmp_path / "kept" / "x" / "model", tmp_path / "new" / "file") as paths:
            paths[0].mkdir()
            (paths[0] / "part").write_text("1")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        write()
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_a_target_that_cannot_be_placed_takes_the_first_back(tmp_path):
    def write() -> None:
        with whole(tmp_path / "model", tmp_path / "never_written") as paths:
            paths[0].mkdir()

    with pytest.raises(FileNotFoundError):
        write()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_exists_is_refused_and_kept(tmp_path, kind):
    target = tmp_path / "model"
    {"file": target.touch, "folder": target.mkdir, "dangling link": lambda: target.symlink_to("nowhere")}[
        kind
    ]()

    def write() -> None:
        with whole(target):
            pytest.fail("the block ran")

    with pytest.raises(ExportError, match=r'model" exists already and is never overwritten'):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_appears_meanwhile_is_kept(tmp_path):
    def write() -> None:
        with whole(tmp_path / "model") as [path]:
            path.mkdir()
            (tmp_path / "model").write_text("another's")

    with pytest.raises(ExportError, match="exists already"):
        write()
    assert (tmp_path / "model").read_text() == "another's"
    assert len(list(tmp_path.iterdir())) == 1
