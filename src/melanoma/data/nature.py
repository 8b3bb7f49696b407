"""Drawn fur, stained tissue, branching vessels and line drawings: pictures that are easily taken for skin.

The parameters are drawn at random; no photograph was looked at or measured for them, but for the stains, whose
absorption is that of Ruifrok and Johnston 2001, "Quantification of histochemical staining by color deconvolution".
"""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from melanoma.data.palettes import (
    SIDE,
    Picture,
    Rng,
    apply_palette,
    draw_cloud,
    draw_palette,
    make_ink,
    make_plane,
    shrink,
    stretch,
)

STAINS: Final = np.array(((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)))


def draw_fur(rng: Rng) -> Picture:
    """Fibres that follow a field of directions, over stripes and patches: fur, hair, grass, wood, feathers."""
    direction = rng.uniform(0, np.pi) + rng.uniform(0.2, 3) * draw_cloud(rng, finest=4)
    fibres = _smear(rng, direction, int(rng.integers(4, 30)))
    for _ in range(int(rng.integers(3))):
        fibres = np.maximum(fibres, _smear(rng, direction + rng.normal(0, 0.2), int(rng.integers(4, 30))))
    fibres = stretch(fibres) ** rng.uniform(0.6, 1.6)
    patches = draw_cloud(rng, finest=8) if rng.random() < 0.6 else _draw_stripes(rng, direction)
    share = rng.uniform(0.25, 0.9)
    picture = apply_palette(share * fibres + (1 - share) * patches, rng)
    return np.asarray(picture * (1 - rng.uniform(0, 0.6) * (1 - fibres))[..., None])


def _smear(rng: Rng, direction: Picture, steps: int) -> Picture:
    """Noise smeared along a field of directions, (SIDE, SIDE). Cabral and Leedom 1993, line integral convolution."""
    grain = int(rng.integers(1, 4))
    noise = np.kron(rng.random((SIDE // grain + 1,) * 2), np.ones((grain, grain)))[:SIDE, :SIDE]
    dy, dx = np.sin(direction), np.cos(direction)
    smeared = noise.copy()
    for sign in (1, -1):
        y, x = (axis.astype(np.float64) for axis in np.mgrid[:SIDE, :SIDE])
        for _ in range(steps):
            row, column = y.astype(np.intp) % SIDE, x.astype(np.intp) % SIDE
            y, x = y + sign * dy[row, column], x + sign * dx[row, column]
            smeared += noise[y.astype(np.intp) % SIDE, x.astype(np.intp) % SIDE]
    return stretch(smeared)


def _draw_stripes(rng: Rng, direction: Picture) -> Picture:
    """Bands across the direction, as on a tabby or a zebra."""
    x, y = make_plane()
    angle = direction.mean() + rng.normal(0, 0.4)
    phase = np.pi * rng.uniform(1, 7) * (x * np.cos(angle) + y * np.sin(angle))
    return stretch(np.sin(phase + rng.uniform(0, 6) * draw_cloud(rng, finest=8)))


def draw_tissue(rng: Rng) -> Picture:
    """Tissue or cells under a microscope, in two stains on a light ground."""
    first, second = rng.permutation(3)[:2]
    stains = STAINS[[first, second]] * rng.uniform(0.7, 1.3, (2, 3)) + rng.uniform(0, 0.15, (2, 3))
    tissue = np.clip((draw_cloud(rng) - rng.uniform(0, 0.6)) * rng.uniform(2, 12), 0, 1)
    ground = tissue * rng.uniform(0.05, 1.0) * (0.3 + 0.7 * draw_cloud(rng))
    nuclei = _draw_nuclei(rng) * (tissue if rng.random() < 0.7 else 1)
    density = np.stack((ground, rng.uniform(0.2, 1.6) * nuclei), axis=2)
    light = rng.uniform(190, 255) * rng.uniform(0.92, 1.03, 3)
    return np.asarray(light * np.exp(-density @ stains))


def _draw_nuclei(rng: Rng) -> Picture:
    """Round or long blobs, scattered or in clusters, (SIDE, SIDE) in [0, 1]."""
    picture = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(picture)
    size, flat = rng.uniform(1.5, 14), rng.uniform(0.4, 1)
    centres = rng.uniform(-5, SIDE + 5, (int(rng.integers(1, 12)), 2))
    scatter = float(rng.choice((15, 40, 1000)))
    for _ in range(int(rng.uniform(0.05, 1.2) * SIDE * SIDE / (4 * size * size)) + 3):
        x, y = (centres[rng.integers(len(centres))] + rng.normal(0, scatter, 2)) % SIDE
        a, b = size * rng.uniform(0.6, 1.4), size * flat * rng.uniform(0.6, 1.4)
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        pen.ellipse((x - a, y - b, x + a, y + b), fill=int(rng.integers(90, 256)))
    blobs = np.asarray(picture, dtype=np.float64) / 255
    return np.asarray(blobs * (1 - rng.uniform(0, 0.8) * draw_cloud(rng)))


def draw_vessels(rng: Rng) -> Picture:
    """Lines that branch from a point over a shaded ground: the back of an eye, leaves, roots, marble."""
    x, y = make_plane()
    palette = draw_palette(rng, 3)
    root = rng.uniform(-0.9, 0.9, 2)
    fall = rng.uniform(-0.3, 0.7)
    light = 1 - fall * (x * x + y * y) / 2 + rng.uniform(0, 0.5) * (draw_cloud(rng, finest=8) - 0.5)
    picture = palette[0] * np.clip(light, 0.05, 1.5)[..., None]
    if rng.random() < 0.7:
        radius, soft = rng.uniform(0.08, 0.35), rng.uniform(4, 30)
        distance = np.hypot(x - root[0], y - root[1]) / radius
        disc = 1 / (1 + np.exp(np.clip(soft * (distance - 1), -50, 50)))
        picture = picture + (rng.uniform(0.3, 1) * disc)[..., None] * (
            np.clip(1.6 * palette[0], 0, 255) - picture
        )
    tree = _draw_tree(rng, (root + 1) * SIDE)
    depth = rng.uniform(0.4, 1)
    ink = palette[0] * rng.uniform(0.2, 0.8, 3) if rng.random() < 0.6 else palette[1]
    cover = (depth * tree)[..., None]
    picture = picture * (1 - cover) + ink * cover
    if rng.random() < 0.4:
        radius = rng.uniform(0.75, 1.15)
        picture = picture * (np.hypot(x, y) < radius)[..., None]
    return np.asarray(picture)


def _draw_tree(rng: Rng, root: Picture) -> Picture:
    """Branches from `root`, (x, y) at twice the size, as (SIDE, SIDE) in [0, 1]."""
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE))
    pen = ImageDraw.Draw(picture)
    start = rng.uniform(0, 2 * np.pi)
    wide, bend, fork = rng.uniform(2, 9), rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.25)
    count = int(rng.integers(3, 9))
    tips = [(*root, start + 2 * np.pi * k / count + rng.normal(0, 0.3), wide) for k in range(count)]
    for _ in range(400):
        if not tips:
            break
        px, py, angle, width = tips.pop(0)
        step = rng.uniform(8, 18)
        end = (px + step * np.cos(angle), py + step * np.sin(angle))
        pen.line([(px, py), end], fill=(255, 255, 255), width=max(1, round(width)))
        if width < 0.7 or not -20 < end[0] < 2 * SIDE + 20 or not -20 < end[1] < 2 * SIDE + 20:
            continue
        tips.append((*end, angle + rng.normal(0, bend), 0.96 * width))
        if rng.random() < fork:
            tips.append((*end, angle + rng.choice((-1, 1)) * rng.uniform(0.4, 1.2), 0.7 * width))
    return shrink(picture)[..., 0] / 255


def draw_lines(rng: Rng) -> Picture:
    """A drawing in lines on paper: outlines, circles, grids, hatching, with or without filled parts."""
    palette = draw_palette(rng, 4) if rng.random() < 0.5 else np.array(((250.0,) * 3, (20.0,) * 3) * 2)
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), make_ink(palette[0]))
    pen = ImageDraw.Draw(picture)
    width, filled = int(rng.integers(1, 9)), rng.uniform(0, 0.6)
    for _ in range(int(rng.integers(2, 25))):
        ink = make_ink(palette[rng.integers(1, 4)])
        fill = ink if rng.random() < filled else None
        (x, y), (a, b) = rng.uniform(-0.1, 2.1, 2) * SIDE, rng.uniform(0.05, 1.0, 2) * SIDE
        kind = int(rng.integers(4))
        if kind == 0:
            pen.ellipse((x - a, y - b, x + a, y + b), outline=ink, fill=fill, width=width)
        elif kind == 1:
            pen.rectangle((x - a, y - b, x + a, y + b), outline=ink, fill=fill, width=width)
        elif kind == 2:
            steps = rng.normal(0, a / 3, (int(rng.integers(3, 20)), 2))
            points = np.array((x, y)) + np.cumsum(steps, axis=0)
            pen.line([tuple(point) for point in points.tolist()], fill=ink, width=width, joint="curve")
        else:
            turn, gap = rng.uniform(0, np.pi), rng.uniform(4, 30)
            along, across = np.array((np.cos(turn), np.sin(turn))), np.array((-np.sin(turn), np.cos(turn)))
            for k in range(int(rng.integers(3, 16))):
                middle = np.array((x, y)) + k * gap * across
                pen.line([tuple(middle - a * along), tuple(middle + a * along)], fill=ink, width=width)
    return shrink(picture)
