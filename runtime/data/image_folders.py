"""Folders of images, one for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compiler.model_spec import DataStage
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.image_rows import Decoding, Picture, Pictures, decoded
from runtime.image_file import ENDINGS


def images(stage: DataStage, context: Context) -> Examples:
    """A folder with a folder of images for each class, in alphabetical order; needs the extra `image`.

    With `channels` 3 images are in colour, with 1 in grey, with 4 in colour with alpha. Every file is decoded here, so
    that a broken one is found before training begins; of a large folder most are decoded again for each batch.
    """
    path = context.path(stage.arguments["path"], stage.span)
    folders = _class_folders(path, stage, context)
    known = context.fitted.classes.get("label") if context.fitted is not None else None
    classes = known or tuple(folder.name for folder in folders)
    pictures = Pictures(Decoding(stage.arguments["channels"], stage.arguments["size"]))
    labels: list[int] = []
    files: list[str] = []
    for folder in folders:
        if folder.name not in classes:
            context.report_broken(str(folder), f"`{folder.name}` is none of the classes {', '.join(classes)}")
            continue
        for picture in decoded(_image_files(folder, stage, context), pictures.decoding, stage.span):
            if _is_usable(picture, pictures.shape, context):
                pictures.add(picture)
                labels.append(classes.index(folder.name))
                files.append(f"{folder.name}/{picture.file.name}")
    if not files:
        raise NablacError(Diagnostic(codes.E823, f"{path} holds no images", stage.span))
    examples = {"image": pictures.rows(), "label": np.array(labels, np.int64)}
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


def _is_usable(picture: Picture, shape: tuple[int, ...] | None, context: Context) -> bool:
    """Whether a picture is in order, and of the size of the first one; others are errors, or skipped."""
    for note in picture.notes:
        context.note(str(picture.file), note)
    if picture.error is not None or picture.pixels is None:
        if picture.error is not None:
            context.leave_out(picture.error, str(picture.file))
        return False
    size = picture.pixels.shape[:2]
    if shape is None or size == shape[1:]:
        return True
    message = f"{size[0]} by {size[1]} pixels, where the first image has {shape[1]} by {shape[2]}"
    context.report_broken(str(picture.file), message, "`images(path, size: 64)` resizes them all")
    return False
