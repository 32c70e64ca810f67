"""Predictions for images: files, folders of them, and lists of their names."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_TEXT, decode, read_file
from runtime.data.examples import Examples
from runtime.data.recipe import Recipe
from runtime.extras import missing_extra
from runtime.image_file import CHANNELS, ENDINGS, read_image
from runtime.prediction.answers import Answers
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from runtime.prediction.table_rows import Columns

if TYPE_CHECKING:
    from compiler.types import Array

FILE = "file"
LIST = "@"  # before the name of a file of names


def is_images(path: str) -> bool:
    """Whether an input names images: a file with their suffix, a folder, or a list."""
    return path.startswith(LIST) or os.path.isdir(path) or Path(path).suffix.lower() in ENDINGS


def image_files(inputs: Sequence[str], findings: Findings) -> list[str]:
    """The files that inputs name, in their order, of folders by name with all folders in them."""
    files: list[str] = []
    for path in inputs:
        if path.startswith(LIST):
            files += _listed(Path(path[1:]), findings)
        elif os.path.isdir(path):
            files_below = [file for file in sorted(Path(path).rglob("*")) if file.suffix.lower() in ENDINGS]
            files += [str(file) for file in files_below if file.is_file()]
            if not files_below:
                hint = f"images are {', '.join(ENDINGS)}"
                raise NablacError(Diagnostic(codes.E823, f"{path} holds no images", place=path, hint=hint))
        else:
            files.append(path)
    return files


def _listed(path: Path, findings: Findings) -> list[str]:
    """The names in a list, one a line, relative ones as seen from here, or else from the list's folder."""
    files = []
    for number, line in enumerate(decode(read_file(path, LARGEST_TEXT), str(path)).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        file = next((candidate for candidate in (Path(name), path.parent / name) if os.path.isfile(candidate)), None)
        if file is None:
            findings.report_broken(f"{path}:{number}", f"there is no file {name}")
        else:
            files.append(str(file))
    if not files:
        raise NablacError(Diagnostic(codes.E823, f"{path} names no file", place=str(path)))
    return files


def image_input(predictor: Predictor) -> str | None:
    """The input that takes images, where that is all that a model takes; None of any other model."""
    source = predictor.recipe.source
    if len(predictor.types) != 1 or predictor.recipe.stage("columns") is not None:
        return None
    ((name, type),) = predictor.types.items()
    pictures = source is not None and source.name in ("images", "digits")
    return name if type.dtype.is_float and (pictures or (type.rank == 4 and type.shape[1] in CHANNELS)) else None


def predict_images(
    predictor: Predictor, files: Sequence[str], name: str, answers: Answers, findings: Findings
) -> Iterator[Columns]:
    """Results for some images at a time, beside the names of their files; those of one size share a batch."""
    channels, height, width = _picture(predictor.types[name], predictor.recipe)
    batch = predictor.batch({name: (channels, height or 256, width or 256)})
    pictures: list[Array] = []
    names: list[str] = []
    for file in files:
        picture = _read(file, channels, (height, width), findings)
        if picture is None:
            continue
        if pictures and (picture.shape != pictures[0].shape or len(pictures) == batch):
            yield _answered(predictor, name, pictures, names, answers)
            pictures, names = [], []
        pictures.append(picture)
        names.append(file)
    if pictures:
        yield _answered(predictor, name, pictures, names, answers)


def _answered(predictor: Predictor, name: str, pictures: list[Array], names: list[str], answers: Answers) -> Columns:
    feeds = {name: predictor.feed(name, np.stack(pictures), Examples({}, path=names[0]))}
    return {FILE: list(names), **answers.columns(predictor.run(feeds), len(names))}


def _picture(type: TensorType, recipe: Recipe) -> tuple[int, int | None, int | None]:
    """The channels, height and width of the pictures that an input takes; None for what may be any."""
    source = recipe.source
    arguments = source.arguments if source is not None and source.name == "images" else {}
    shape = type.shape[1:]
    sizes = [size if isinstance(size, int) else None for size in shape]
    channels = int(arguments.get("channels") or 1)
    side = int(arguments.get("size") or 0) or None
    if len(shape) == 3:
        first = sizes[0]
        return first if first is not None else channels, sizes[1] or side, sizes[2] or side
    if len(shape) == 2:
        return 1, sizes[0] or side, sizes[1] or side
    pixels = sizes[0] if len(shape) == 1 else None
    square = math.isqrt(pixels // channels) if pixels is not None else 0
    if pixels is None or square * square * channels != pixels:
        message = f"an image does not make {type}"
        raise NablacError(Diagnostic(codes.E829, message, hint="give arrays: `.npy` or `.npz`"))
    return channels, square, square


def _read(file: str, channels: int, size: tuple[int | None, int | None], findings: Findings) -> Array | None:
    """A picture in the channels and the size that the model takes; None for one that is broken and left out."""
    height, width = size
    try:
        return read_image(
            read_file(Path(file), LARGEST_TEXT),
            file,
            channels,
            lambda of_height, of_width: (height or of_height, width or of_width),
            lambda text: findings.note(file, text),
        )
    except NablacError as error:
        findings.leave_out(error, file)
        return None
    except ImportError:
        raise missing_extra("images", "image", location=file) from None
