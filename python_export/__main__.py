"""The command line, as in `python -m python_export export --out models/resnet50`."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import recipes
from .errors import ExportError

if TYPE_CHECKING:
    from .exporter import Exported

EXAMPLE = (
    "example:\n  python -m python_export export --out models/resnet50 --upsample 2 --classes cat,dog,fox"
)
WEIGHT_FILES = (".keras", ".h5", ".npz", ".safetensors", ".pth")
MOST_CLASSES = 100_000


class Parser(argparse.ArgumentParser):
    """Reports wrong usage as one sentence, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        self.exit(2, f"{self.prog}: {message}\n")


TORCH_LAYERS = "keras.models.load_model needs `import python_export.layers` first: torch's BatchNorm is there"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line (default sys.argv) and returns the exit code: 0, 1 failure, 2 wrong usage."""
    parser = Parser(prog="python_export", description="Keras models for residual.", allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    _export_parser(commands)
    _weights_parser(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except ExportError as error:
        return _fail(options.command, str(error))
    except OSError as error:
        return _fail(
            options.command,
            f'cannot write --out "{options.out}": {error.strerror or error} '
            f"({error.filename or options.out})",
        )
    except KeyboardInterrupt:
        _fail(options.command, "interrupted, nothing was written")
        return 130
    return 0


def _export_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "export",
        help="build a Keras model and write it as a SavedModel with a training step",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--out", metavar="DIR", type=_path, required=True, help="folder to write; must not exist")
    add("--recipe", metavar="NAME", type=_recipe, default="keras", help="keras (default) or pytorch")
    add(
        "--upsample",
        metavar="N",
        type=_whole(1, 16),
        default=7,
        help="enlarge images N times in the graph (7)",
    )
    add("--classes", metavar="N|NAME,…", type=_classes, default=recipes.CIFAR10, help="CIFAR-10's ten names")
    add(
        "--image-size",
        metavar="N",
        type=_whole(1, 4096),
        default=32,
        help="pixels a side of the images fed (32)",
    )
    add("--loss", metavar="KIND", type=_loss, default="published", help="published (default) or logits")
    add("--weights", metavar="SOURCE", type=_weights, default="random", help="random, imagenet or a file")
    add("--seed", metavar="N", type=_whole(0, 2**32 - 1), default=0, help="decides random weights (0)")
    add(
        "--batch-norm",
        metavar="KIND",
        type=_batch_norm,
        default="fused",
        help="fused (default), or keras: Keras's own layers",
    )
    add(
        "--precision",
        metavar="P",
        type=_precision,
        default="float32",
        help="what layers compute in: float32 (default), bfloat16 or float16 (of GPUs; scales the loss)",
    )
    add(
        "--save-keras",
        metavar="FILE",
        type=_keras_file,
        help="also write the stock Keras model, a .keras file",
    )
    add("--json", action="store_true", help="print one JSON object as the last line")

    def run(options: argparse.Namespace) -> None:
        _check_together(parser, options)
        _export(options)

    parser.set_defaults(command="export", run=run)


def _weights_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "weights",
        help="write the weights that Go trained as a Keras model or a torch state dict",
        epilog="example:\n  python -m python_export weights --model runs/first/model/1 --out trained.keras",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", metavar="DIR", type=Path, required=True, help="a model that export wrote, trained or not")
    add("--out", metavar="FILE", type=_weights_file, required=True, help=".keras or .safetensors, a new file")
    add("--keras", metavar="FILE", type=_keras_file, help="stock model to fill, if it was of no recipe")
    parser.set_defaults(command="weights", run=_weights_back)


def _weights_back(options: argparse.Namespace) -> None:
    if sys.stderr.isatty():
        print("starting Keras", file=sys.stderr)
    with _quiet():
        _start_keras()
        from .extract import extract
        from .weights import is_torch

        model = extract(options.model, options.out, options.keras)
        parameters = model.count_params()
        custom = options.out.suffix == ".keras" and is_torch(model)
    print(f"wrote {parameters:,} parameters to {options.out}")
    if custom:
        print(f"  {TORCH_LAYERS}")


def _check_together(parser: Parser, options: argparse.Namespace) -> None:
    """Ends with wrong usage if values that are right by themselves do not go together."""
    side = options.image_size * options.upsample
    if not recipes.SMALLEST_IMAGE <= side <= recipes.LARGEST_IMAGE:
        parser.error(
            f"--image-size {options.image_size} with --upsample {options.upsample} gives {side} pixels "
            f"a side, expected {recipes.SMALLEST_IMAGE} to {recipes.LARGEST_IMAGE}"
        )
    if options.recipe == "pytorch" and options.batch_norm == "keras":
        parser.error("--batch-norm keras is not for --recipe pytorch, whose BatchNorm is torch's")
    if options.save_keras is not None:
        out, file = options.out.absolute(), options.save_keras.absolute()
        if out == file or out in file.parents or file in out.parents:
            parser.error(
                f'--save-keras "{options.save_keras}" and --out "{options.out}" lie inside each other'
            )


def _export(options: argparse.Namespace) -> None:
    """Builds and exports the recipe's model and prints what was written."""
    from . import disk

    disk.check_free(*filter(None, (options.out, options.save_keras)))
    if options.weights not in ("random", "imagenet") and not Path(options.weights).is_file():
        raise ExportError(
            f'--weights "{options.weights}" is not a file, expected a {" or ".join(WEIGHT_FILES)} file'
        )
    if sys.stderr.isatty():
        print("starting Keras", file=sys.stderr)
    with _quiet():
        exported, loaded = _run(options)
    description = exported.description
    summary = {
        "out": str(exported.path),
        "recipe": options.recipe,
        "parameters": description["parameters"],
        "signatures": list(exported.signatures),
        "batch_norm": description["batch_norm"],
        "precision": description["precision"],
        "weights": loaded,
        "keras": str(options.save_keras) if options.save_keras else None,
        "seconds": round(exported.seconds, 1),
    }
    counts = description["parameters"]
    image = description["image"]
    print(
        f"exported {description['name']} to {exported.path} in {exported.seconds:.0f} s: "
        f"{len(description['classes'])} classes, images {image['height']}x{image['width']}, "
        f"upsampling {options.upsample}"
    )
    print(f"  parameters  {counts['total']:,} ({counts['trainable']:,} trainable)")
    print(f"  precision   {description['precision']}")
    print(f"  weights     {loaded}")
    print(f"  signatures  {', '.join(exported.signatures)}")
    if description["softmax_twice"]:
        print(
            "  note        the loss applies a second softmax, as published: from random weights it hardly "
            "learns (--loss logits does)"
        )
    for note in exported.notes:
        print(f"  note        {note}")
    if options.save_keras:
        print(f"  keras       {options.save_keras}")
        if options.recipe == "pytorch":
            print(f"              {TORCH_LAYERS}")
    if options.json:
        print(json.dumps(summary))


def _run(options: argparse.Namespace) -> tuple[Exported, str]:
    """What was exported, and what its weights were."""
    _start_keras()
    import keras

    from . import weights
    from .exporter import export
    from .metadata import Origin

    keras.utils.set_random_seed(options.seed)
    build = recipes.RECIPES[options.recipe]
    system = build(
        len(options.classes), options.image_size, options.upsample, logits=options.loss == "logits"
    )
    loaded = weights.load(system.model, options.weights)
    source = options.weights if options.weights in ("random", "imagenet") else Path(options.weights).name
    exported = export(
        system.model,
        options.out,
        classes=options.classes,
        image=(options.image_size, options.image_size, 3),
        preprocess=system.preprocess,
        loss=system.loss,
        batch_norm=options.batch_norm,
        precision=options.precision,
        origin=Origin(options.recipe, options.upsample, source, options.seed),
        save_keras=options.save_keras,
    )
    return exported, loaded


def _start_keras() -> None:
    """Imports Keras with its own defaults, whatever ~/.keras/keras.json says."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TensorFlow's log off stderr.

    It writes to the file descriptor, and not all of it heeds TF_CPP_MIN_LOG_LEVEL. If TensorFlow aborts the
    process, the Python stack still reaches stderr.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w") as stderr, tempfile.TemporaryFile() as log:
        faulthandler.enable(stderr)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr.fileno(), 2)
            faulthandler.disable()


def _fail(command: str, sentence: str) -> int:
    print(f"python_export {command}: {sentence}", file=sys.stderr)
    return 1


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError('"" is not a name, expected a folder that does not exist yet')
    return Path(text)


def _recipe(text: str) -> str:
    if text not in recipes.RECIPES:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a recipe, expected one of: {", ".join(recipes.RECIPES)}'
        )
    return text


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f'"{text}" is not a whole number from {least} to {most}')
        return number

    return parse


def _classes(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if len(names) == 1 and names[0].isascii() and names[0].isdigit():
        names = tuple(map(str, range(_whole(2, MOST_CLASSES)(text))))
    if not all(names):
        raise argparse.ArgumentTypeError(
            f'"{text}" holds an empty name, expected names parted by single commas'
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise argparse.ArgumentTypeError(f'"{text}" holds "{twice[0]}" twice, expected different names')
    if len(names) < 2:
        raise argparse.ArgumentTypeError(f'"{text}" is one class, expected a number or at least two names')
    return names


def _weights(text: str) -> str:
    if text not in ("random", "imagenet") and Path(text).suffix not in WEIGHT_FILES:
        raise argparse.ArgumentTypeError(
            f'"{text}" is not random, imagenet or a {", ".join(WEIGHT_FILES)} file'
        )
    return text


def _loss(text: str) -> str:
    if text not in ("published", "logits"):
        raise argparse.ArgumentTypeError(f'"{text}" is not published or logits')
    return text


def _batch_norm(text: str) -> str:
    if text not in ("fused", "keras"):
        raise argparse.ArgumentTypeError(f'"{text}" is not fused or keras')
    return text


def _precision(text: str) -> str:
    if text not in ("float32", "bfloat16", "float16"):
        raise argparse.ArgumentTypeError(f'"{text}" is not float32, bfloat16 or float16')
    return text


def _weights_file(text: str) -> Path:
    if Path(text).suffix not in (".keras", ".safetensors"):
        raise argparse.ArgumentTypeError(f'"{text}" is not a file name ending in .keras or .safetensors')
    return Path(text)


def _keras_file(text: str) -> Path:
    if Path(text).suffix != ".keras":
        raise argparse.ArgumentTypeError(f'"{text}" is not a file name ending in .keras')
    return Path(text)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that nothing half-written stays
    sys.exit(main())
