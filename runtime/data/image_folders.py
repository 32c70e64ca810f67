"""Folders of images, one for each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.source_files import content_of
from runtime.extras import missing_extra
from runtime.image_file import ENDINGS, read_image

if TYPE_CHECKING:
    from compiler.types import Array


def images(stage: DataStage, context: Context) -> Examples:
    """A folder with a folder of images for each class, in alphabetical order; needs the extra `image`.

    With `channels` 3 images are in colour, with 1 in grey, with 4 in colour with alpha.
    """
    path = context.path(stage.arguments["path"], stage.span)
    folders = _class_folders(path, stage, context)
    known = context.fitted.classes.get("label") if context.fitted is not None else None
    classes = known or tuple(folder.name for folder in folders)
    arrays: list[Array] = []
    labels: list[int] = []
    files: list[str] = []
    for folder in folders:
        if folder.name not in classes:
            context.report_broken(str(folder), f"`{folder.name}` is none of the classes {', '.join(classes)}")
            continue
        for file in _image_files(folder, stage, context):
            array = _read(file, stage, context)
            if array is None:
                continue
            if arrays and array.shape != arrays[0].shape:
                height, width = arrays[0].shape[1:]
                message = f"{array.shape[1]} by {array.shape[2]} pixels, where the first image has {height} by {width}"
                context.report_broken(str(file), message, "`images(path, size: 64)` resizes them all")
                continue
            arrays.append(array)
            labels.append(classes.index(folder.name))
            files.append(f"{folder.name}/{file.name}")
    if not arrays:
        raise NablacError(Diagnostic(codes.E823, f"{path} holds no images", stage.span))
    examples = {"image": np.stack(arrays), "label": np.array(labels, np.int64)}
    return Examples(
        examples, ("image",), ("label",), columns={"label": ("label",)}, classes={"label": classes}, path=str(path),
        files=tuple(files),
    )  # fmt: skip


def _class_folders(path: Path, stage: DataStage, context: Context) -> list[Path]:
    """The folders of the classes; hidden folders, such as notebooks leave behind, are skipped."""
    beside = sorted(path.iterdir()) if path.is_dir() else []
    folders = [entry for entry in beside if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        hint = "as in cats/1.png, cats/2.png, dogs/1.png"
        raise NablacError(Diagnostic(codes.E823, f"{path} has no folder for each class", stage.span, hint=hint))
    for entry in beside:
        if entry.suffix.lower() in ENDINGS and not entry.is_dir():
            context.note(str(entry), "an image outside the class folders is skipped")
        elif entry.is_dir() and entry not in folders:
            context.note(str(entry), "a hidden folder is skipped")
    return folders


def _image_files(folder: Path, stage: DataStage, context: Context) -> list[Path]:
    """The images of a class; other files are noted, and a class without images is an error."""
    files: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.suffix.lower() in ENDINGS and not entry.is_dir():
            files.append(entry)
        elif not entry.name.startswith("."):
            what = "a folder in a class's folder" if entry.is_dir() else "a file without the suffix of an image"
            context.note(str(entry), f"{what} is skipped")
    if not files and context.fitted is None:
        hint = f"images are {', '.join(ENDINGS)}; remove the folder if it is not a class"
        raise NablacError(Diagnostic(codes.E823, f"the class {folder} has no images", stage.span, hint=hint))
    return files


def _read(file: Path, stage: DataStage, context: Context) -> Array | None:
    """An image with the channels and the size of the stage; None for a broken one that is skipped."""
    side = stage.arguments["size"]
    try:
        return read_image(
            content_of(file),
            str(file),
            stage.arguments["channels"],
            lambda height, width: (side or height, side or width),
            lambda text: context.note(str(file), text),
        )
    except NablacError as error:
        context.leave_out(error, str(file))
        return None
    except ImportError:
        raise missing_extra("images", "image", stage.span) from None
