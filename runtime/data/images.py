"""Folders of images, one for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compiler.elaborate.data import Stage
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import check_pixels, guarded, open_regular
from runtime.data.context import Context
from runtime.data.examples import Examples
from runtime.data.files import missing_extra

if TYPE_CHECKING:
    from compiler.types import Array


def images(stage: Stage, context: Context) -> Examples:
    """A folder with a folder of images for each class, in the order of their names; needs the extra `image`.

    Of `channels` 3 they are in colour, of 1 in grey.
    """
    from runtime.reading import IMAGES

    path = context.path(stage.arguments["path"], stage.span)
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("images", "image", stage) from None
    folders = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    if not folders:
        hint = "as in cats/1.png, cats/2.png, dogs/1.png"
        raise NablacError(Diagnostic("E823", f"{path} has no folder for each class", stage.span, hint=hint))
    known = context.fitted.classes.get("label") if context.fitted is not None else None
    classes = known or tuple(each.name for each in folders)
    side, mode = stage.arguments["size"], "L" if stage.arguments["channels"] == 1 else "RGB"
    arrays: list[Array] = []
    labels: list[int] = []
    for folder in folders:
        if folder.name not in classes:
            context.broken(str(folder), f"`{folder.name}` is none of the classes {', '.join(classes)}")
            continue
        for file in sorted(each for each in folder.iterdir() if each.suffix.lower() in IMAGES):
            try:
                with guarded(str(file), "an image"), open_regular(file) as content, Image.open(content) as opened:
                    check_pixels(*opened.size, str(file))
                    image = opened.convert(mode)
                    if side:
                        image = image.resize((side, side), Image.Resampling.BILINEAR)
                    pixels = np.asarray(image, np.float32) / 255
            except NablacError as error:
                context.broken(str(file), error.diagnostics[0].message)
                continue
            array = np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)
            if arrays and array.shape != arrays[0].shape:
                height, width = arrays[0].shape[1:]
                message = f"{array.shape[1]} by {array.shape[2]} pixels, where the first image has {height} by {width}"
                context.broken(str(file), message, "`images(path, size: 64)` makes all of one size")
                continue
            arrays.append(array)
            labels.append(classes.index(folder.name))
    if not arrays:
        raise NablacError(Diagnostic("E823", f"{path} holds no images", stage.span))
    made = {"image": np.stack(arrays), "label": np.array(labels, np.int64)}
    return Examples(
        made, ("image",), ("label",), columns={"label": ("label",)}, classes={"label": classes}, place=str(path)
    )
