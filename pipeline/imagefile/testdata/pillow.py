"""Writes images into a folder, and beside each what Pillow reads from it.

usage: pillow.py FOLDER [IMAGE...]

Without IMAGE it draws some of every kind. For each image.jpg there is then an
image.jpg.rgb with Pillow's convert("RGB"), and for some an image.jpg.HxW with
Pillow's version of the resize rule. A line of JSON on stdout lists all.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image

folder, named = pathlib.Path(sys.argv[1]), sys.argv[2:]
random = np.random.default_rng(1)


def picture(width, height):
    """Coloured waves with hard edges and noise: every chroma filter shows."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / a + y / b + c) for a, b, c in [(3, 5, 0), (-4, 3, 1), (6, -2, 2)]]
    image = 127 + 100 * np.stack(waves, -1)
    image[(x // 7 + y // 5) % 3 == 0] = [250, 20, 40]
    return Image.fromarray(np.clip(image + random.normal(0, 12, image.shape), 0, 255).astype(np.uint8))


def patch(path, size, old, new):
    """Gives a JPEG another size and luma sampling of as many blocks.

    Pillow cannot write 4:4:0 and 4:1:1, but the order of blocks in an MCU is
    that of 4:2:2 and 4:2:0, so that only the frame header differs.
    """
    data = bytearray(path.read_bytes())
    sof = data.index(b"\xff\xc0")
    data[sof + 5 : sof + 9] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    assert data[sof + 11] == old
    data[sof + 11] = new
    path.write_bytes(data)


SIZES = [(1, 1), (2, 1), (1, 2), (3, 3), (4, 5), (5, 4), (8, 8), (9, 17), (16, 16), (32, 32)]
SIZES += [(37, 53), (53, 37)]

# Chroma ratio, the one that Pillow writes instead, the pixels of an MCU, and
# the luma sampling before and after.
PATCHED = [("440", "4:2:2", (8, 16), 0x21, 0x12), ("411", "4:2:0", (32, 8), 0x22, 0x41)]


def jpegs():
    """Draws JPEGs of every chroma ratio and colour space."""
    for width, height in SIZES:
        name = f"{width}x{height}"
        for sampling in ["4:4:4", "4:2:2", "4:2:0"]:
            for progressive in [False, True]:
                kind = "progressive" if progressive else "baseline"
                picture(width, height).save(
                    folder / f"{name}-{sampling.replace(':', '')}-{kind}.jpg",
                    quality=90,
                    subsampling=sampling,
                    progressive=progressive,
                )
        for ratio, source, mcu, old, new in PATCHED:
            path = folder / f"{name}-{ratio}-baseline.jpg"
            blocks = -(-width // mcu[0]) * -(-height // mcu[1])
            picture(16 * blocks, {"4:2:2": 8, "4:2:0": 16}[source]).save(path, quality=90, subsampling=source)
            patch(path, (width, height), old, new)
        picture(width, height).convert("L").save(folder / f"{name}-grey.jpg", quality=90)
        picture(width, height).convert("CMYK").save(folder / f"{name}-cmyk.jpg", quality=90)
        picture(width, height).save(folder / f"{name}-rgb.jpg", quality=90, keep_rgb=True)
        picture(width, height).save(folder / f"{name}-restart.jpg", quality=70, restart_marker_blocks=1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, which nobody does
    picture(20, 30).save(folder / "turned.jpg", exif=exif)


def pngs():
    """Draws PNGs of every kind of pixel."""
    image = picture(37, 53)
    alpha = Image.fromarray(random.integers(0, 256, (53, 37), np.uint8))
    image.save(folder / "rgb.png")
    image.convert("L").save(folder / "grey.png")
    image.convert("1").save(folder / "bits.png")
    image.quantize(200).save(folder / "palette.png")
    image.quantize(4).save(folder / "palette4.png", bits=2)
    image.quantize(200).save(folder / "palette-transparent.png", transparency=3)
    image.save(folder / "rgb-transparent.png", transparency=image.getpixel((0, 0)))
    image.convert("L").save(folder / "grey-transparent.png", transparency=7)
    image.putalpha(alpha)
    image.save(folder / "alpha.png")
    image.convert("LA").save(folder / "grey-alpha.png")
    wide = random.integers(0, 65536, (53, 37), np.uint16)
    Image.fromarray(wide).save(folder / "grey16.png")


def resize(image, width, height):
    """The rule: shorter side to size rounding down, centre crop, linear."""
    w, h = image.size
    if (w, h) == (width, height):
        return image
    if w * height > h * width:
        size = (max(width, w * height // h), height)
    else:
        size = (width, max(height, h * width // w))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))


def to_rgb(image):
    """Pillow's conversion, save for 16-bit grey, which it clips to white.

    There the reference is what libpng, hence tf.image.decode_png, does.
    """
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def resizable():
    """Draws images of sizes that no model takes."""
    for width, height in [(37, 53), (300, 200), (500, 31), (64, 640), (31, 32)]:
        picture(width, height).save(folder / f"fit-{width}x{height}.png")


def main():
    """Draws or takes the images, writes what Pillow reads."""
    if not named:
        jpegs()
        pngs()
        resizable()
    listed = []
    for path in map(pathlib.Path, named or sorted(folder.glob("*.[jp][pn]g"))):
        image = to_rgb(Image.open(path))
        raw = folder / "-".join(path.parts[-3:] if named else [path.name])
        pathlib.Path(f"{raw}.rgb").write_bytes(image.tobytes())
        fits = []
        if path.name.startswith("fit-"):
            for width, height in [(32, 32), (224, 224), (17, 29), (40, 20)]:
                fits.append({"Width": width, "Height": height, "File": f"{raw}.{height}x{width}"})
                pathlib.Path(fits[-1]["File"]).write_bytes(resize(image, width, height).tobytes())
        size = {"Width": image.width, "Height": image.height}
        listed.append({"Path": str(path), "RGB": f"{raw}.rgb", **size, "Fits": fits})
    json.dump(listed, sys.stdout)


main()
