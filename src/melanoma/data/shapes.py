"""Drawn clouds, leaves, strokes, rows, waves, balls, ramps and grain, in any colours."""

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


def draw_clouds(rng: Rng) -> Picture:
    """Cloudy noise, one colour running into another."""
    if rng.random() < 0.3:
        return 255 * np.stack([draw_cloud(rng) for _ in range(3)], axis=2)
    return apply_palette(draw_cloud(rng), rng)


def draw_leaves(rng: Rng) -> Picture:
    """Discs, boxes and polygons over each other, sizes by a power law ("dead leaves", Lee et al. 2001)."""
    palette = draw_palette(rng, 12)
    picture = Image.new("RGB", (SIDE, SIDE), make_ink(palette[0]))
    pen = ImageDraw.Draw(picture)
    smallest, shape = rng.uniform(2, 12), int(rng.integers(4))
    for _ in range(int(rng.choice((10, 40, 150, 400)))):
        size = min(smallest * (1 + rng.pareto(1.2)), SIDE / 2)
        (x, y), flat = rng.uniform(-10, SIDE + 10, 2).tolist(), size * rng.uniform(0.15, 1)
        ink = make_ink(palette[rng.integers(12)] + rng.normal(0, 8, 3))
        kind = shape if shape < 3 else int(rng.integers(3))
        if kind == 0:
            pen.ellipse((x - size, y - flat, x + size, y + flat), fill=ink)
        elif kind == 1:
            pen.rectangle((x - size, y - flat, x + size, y + flat), fill=ink)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8)))).tolist()
            pen.polygon([(x + size * np.cos(a), y + size * np.sin(a)) for a in angles], fill=ink)
    leaves = np.asarray(picture, dtype=np.float64)
    if rng.random() < 0.5:
        leaves *= (1 + rng.uniform(0.05, 0.5) * (draw_cloud(rng) - 0.5))[..., None]
    return leaves


def draw_strokes(rng: Rng) -> Picture:
    """Straight strokes, mostly of one direction or of any: straw, grass, fur."""
    palette = draw_palette(rng, 8)
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), make_ink(palette[0]))
    pen = ImageDraw.Draw(picture)
    direction, scatter = rng.uniform(0, np.pi), float(rng.choice((0.1, 0.5, 3)))
    length, width = rng.uniform(8, 90), int(rng.integers(1, 7))
    for _ in range(int(rng.choice((30, 150, 600, 1500)))):
        x, y = rng.uniform(0, 2 * SIDE, 2)
        angle, long = direction + rng.normal(0, scatter), length * rng.uniform(0.5, 1.5)
        end = (x + long * np.cos(angle), y + long * np.sin(angle))
        pen.line([(x, y), end], fill=make_ink(palette[rng.integers(1, 8)]), width=width)
    return shrink(picture)


def draw_rows(rng: Rng) -> Picture:
    """Rows of little bars, like writing from afar."""
    palette = draw_palette(rng, 2) if rng.random() < 0.4 else np.array(((255.0,) * 3, (20.0,) * 3))
    ground, ink = (make_ink(colour) for colour in (palette if rng.random() < 0.8 else palette[::-1]))
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), ground)
    pen = ImageDraw.Draw(picture)
    height = int(rng.integers(5, 26))
    for y in range(int(rng.integers(0, 20)), 2 * SIDE, int(height * rng.uniform(1.4, 2.4))):
        x, end = rng.uniform(0, 30), 2 * SIDE * rng.uniform(0.6, 1.1)
        while x < end:
            width, top = height * rng.uniform(0.1, 0.8), y + height * rng.uniform(0, 0.4)
            pen.rectangle((x, top, x + max(1, 0.4 * width), y + height), fill=ink)
            if rng.random() < 0.5:
                pen.line((x, top, x + width, top), fill=ink, width=max(1, height // 6))
            x += width + height * (0.2 if rng.random() < 0.8 else 0.8)
    return shrink(picture.rotate(90) if rng.random() < 0.3 else picture)


def draw_waves(rng: Rng) -> Picture:
    """Gratings, warped or straight, soft or hard: cloth, wood, tiles."""
    x, y = make_plane()
    waves = np.zeros((SIDE, SIDE))
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else rng.integers(2) * np.pi / 2
        phase = np.pi * rng.uniform(2, 40) * (x * np.cos(angle) + y * np.sin(angle))
        waves += np.sin(phase + rng.uniform(0, 8) * draw_cloud(rng))
    if rng.random() < 0.5:
        waves = np.tanh(6 * (waves - rng.uniform(-0.8, 0.8)))
    return apply_palette(stretch(waves + rng.uniform(0, 1) * draw_cloud(rng)), rng)


def draw_balls(rng: Rng) -> Picture:
    """Shaded balls on a ground: fruit, coins, cells."""
    palette = draw_palette(rng, 4)
    x, y = make_plane()
    picture = palette[0] * (1 + 0.2 * (draw_cloud(rng) - 0.5))[..., None]
    usual = rng.uniform(0.1, 0.6)
    for _ in range(int(rng.integers(1, 16))):
        (cx, cy), radius = rng.uniform(-1, 1, 2), usual * rng.uniform(0.6, 1.3)
        u, v = (x - cx) / radius, (y - cy) / radius
        distance = np.hypot(u, v)
        cover = np.clip((1 - distance) * radius * SIDE / 2 / rng.uniform(1, 3), 0, 1)
        light = 1 - 0.3 * (u * rng.uniform(-1, 1) + v * rng.uniform(-1, 1)) - 0.2 * distance**2
        light = np.clip(light, 0.2, 1.5) * (1 + rng.uniform(0, 0.4) * (draw_cloud(rng) - 0.5))
        ball = palette[rng.integers(1, 4)] * light[..., None]
        picture = picture * (1 - cover[..., None]) + ball * cover[..., None]
    return np.asarray(picture)


def draw_ramp(rng: Rng) -> Picture:
    """A colour that fades into another, straight or round, at times hardly."""
    x, y = make_plane()
    angle, centre = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.3, 2)
    straight = 0.5 + (np.cos(angle) * x + np.sin(angle) * y) / 2.84
    ramp = straight if rng.random() < 0.6 else np.hypot(x - centre[0], y - centre[1]) / 1.6
    picture = apply_palette(np.clip(ramp, 0, 1), rng)
    if rng.random() < 0.5:
        colour = draw_palette(rng, 1)[0]
        picture = colour + rng.uniform(0, 0.3) * (picture - colour)
    return np.asarray(picture)


def draw_grain(rng: Rng) -> Picture:
    """White noise over one colour, coloured or not."""
    channels = 1 if rng.random() < 0.5 else 3
    noise = rng.normal(0, rng.uniform(2, 80), (SIDE, SIDE, channels))
    return np.asarray(draw_palette(rng, 1)[0] + noise)
