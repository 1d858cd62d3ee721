"""Draws training pictures from the emoji art: recolouring, placing, backgrounds. On any device."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .colours import BACKGROUNDS, COLOURS

HUE_WIDTH = 60 / 360
NONE, HUED, NEUTRAL = 0, 1, 2


@dataclass(frozen=True)
class ColourProfile:
    """What of each drawing may change its colour. All tensors have shape (N,).

    Attributes:
        mode: NONE, HUED (pixels near one dominant hue move) or NEUTRAL (grey pixels move), int64.
        hue: The dominant hue in [0, 1); 0 where not HUED.
        saturation: Mean saturation of the movable pixels.
        value: Mean HSV value of the movable pixels.
    """

    mode: Tensor
    hue: Tensor
    saturation: Tensor
    value: Tensor

    def to(self, device: torch.device) -> "ColourProfile":
        return ColourProfile(
            *(x.to(device) for x in (self.mode, self.hue, self.saturation, self.value))
        )


@dataclass(frozen=True)
class Specs:
    """Fixed descriptions of S training pictures; see `prepare.py` for how they are drawn up.

    Attributes:
        emoji: (S, 2) int64, the left (or only) emoji and the right one; -1 for none.
        colour: (S, 2) int64, index into COLOURS; -1 keeps the drawing's own colours.
        placement: (S, 2, 3) float32: centre x, centre y, size, in fractions of the frame.
        background: (S,) int64, index into BACKGROUNDS; -1 is white.
    """

    emoji: Tensor
    colour: Tensor
    placement: Tensor
    background: Tensor

    def __len__(self) -> int:
        return len(self.emoji)

    def select(self, rows: Tensor | slice) -> "Specs":
        return Specs(
            self.emoji[rows], self.colour[rows], self.placement[rows], self.background[rows]
        )

    def to(self, device: torch.device) -> "Specs":
        return Specs(
            *(x.to(device) for x in (self.emoji, self.colour, self.placement, self.background))
        )


def rgb_to_hsv(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] to hue, saturation, value in [0, 1]."""
    value, argmax = rgb.max(1)
    chroma = value - rgb.amin(1)
    r, g, b = rgb.unbind(1)
    safe = chroma.clamp_min(1e-6)
    hue = torch.where(
        argmax == 0,
        (g - b) / safe,
        torch.where(argmax == 1, 2 + (b - r) / safe, 4 + (r - g) / safe),
    )
    hue = torch.where(chroma < 1e-6, torch.zeros_like(hue), (hue / 6) % 1.0)
    return torch.stack((hue, chroma / value.clamp_min(1e-6), value), 1)


def hsv_to_rgb(hsv: Tensor) -> Tensor:
    """The inverse of `rgb_to_hsv`."""
    hue, saturation, value = hsv.unbind(1)
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + hue * 6) % 6
        channels.append(value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)


def compute_colour_profile(art: Tensor) -> ColourProfile:
    """Finds each drawing's dominant hue, or its grey body, if one covers enough of it.

    Args:
        art: (N, 4, 128, 128) float RGBA in [0, 1], straight alpha.
    """
    hsv = rgb_to_hsv(art[:, :3])
    opaque = art[:, 3] > 0.5
    area = opaque.sum((1, 2)).clamp_min(1)
    vivid = opaque & (hsv[:, 1] > 0.25) & (hsv[:, 2] > 0.2)
    bins = torch.arange(36, device=art.device) / 36
    nearness = [(_hue_distance(hsv[:, 0], centre) < 20 / 360) & vivid for centre in bins]
    peak = torch.stack([mask.sum((1, 2)) for mask in nearness], 1).argmax(1)
    hue = bins[peak]
    hued = vivid & (_hue_distance(hsv[:, 0], hue[:, None, None]) < HUE_WIDTH)
    grey = opaque & (hsv[:, 1] < 0.25) & (hsv[:, 2] > 0.3)
    hued_cover, grey_cover = hued.sum((1, 2)) / area, grey.sum((1, 2)) / area
    mode = torch.where(hued_cover > 0.35, HUED, torch.where(grey_cover > 0.5, NEUTRAL, NONE))
    body = torch.where((mode == HUED)[:, None, None], hued, grey).float()
    count = body.sum((1, 2)).clamp_min(1)
    saturation = (hsv[:, 1] * body).sum((1, 2)) / count
    value = (hsv[:, 2] * body).sum((1, 2)) / count
    return ColourProfile(mode, torch.where(mode == HUED, hue, 0.0), saturation, value)


def compute_own_colour(profile: ColourProfile) -> Tensor:
    """(N,) int64: the named colour that each drawing already has; -1 where it has no main one."""
    own = []
    for mode, hue, saturation, value in zip(
        profile.mode.tolist(),
        profile.hue.tolist(),
        profile.saturation.tolist(),
        profile.value.tolist(),
        strict=True,
    ):
        costs = []
        for colour in COLOURS:
            gap = abs(hue - colour.hue)
            hue_gap = min(gap, 1 - gap) if mode == HUED and colour.saturation > 0.1 else 0.0
            costs.append(
                4 * hue_gap + abs(saturation - colour.saturation) + abs(value - colour.value)
            )
        own.append(costs.index(min(costs)) if mode != NONE else -1)
    return torch.tensor(own)


def recolour(art: Tensor, profile: ColourProfile, colour: Tensor) -> Tensor:
    """Moves each drawing's main colour to a named one; shading, outlines and other hues stay.

    Args:
        art: (B, 4, H, W) float RGBA in [0, 1], straight alpha.
        profile: Of the same B drawings.
        colour: (B,) int64 index into COLOURS, -1 for no change.
    """
    table = torch.tensor([(c.hue, c.saturation, c.value) for c in COLOURS], device=art.device)
    target = table[colour.clamp_min(0)][:, :, None, None]
    hsv = rgb_to_hsv(art[:, :3])
    hue, saturation, value = hsv.unbind(1)
    own_hue, own_saturation, own_value = (
        x[:, None, None] for x in (profile.hue, profile.saturation, profile.value)
    )
    near = ((HUE_WIDTH + 0.03 - _hue_distance(hue, own_hue)) / 0.06).clamp(0, 1)
    vivid = ((saturation - 0.12) / 0.12).clamp(0, 1) * ((value - 0.1) / 0.1).clamp(0, 1)
    grey = ((0.32 - saturation) / 0.12).clamp(0, 1) * ((value - 0.22) / 0.12).clamp(0, 1)
    is_hued = (profile.mode == HUED)[:, None, None]
    weight = torch.where(is_hued, near * vivid, grey)
    weight = weight * ((colour >= 0) & (profile.mode != NONE))[:, None, None]
    shade = (value / own_value.clamp_min(0.05)).clamp(0, 1.6)
    tint = torch.where(is_hued, saturation / own_saturation.clamp_min(0.05), 1.0).clamp(0, 1.4)
    moved = torch.stack(
        (
            target[:, 0].expand_as(hue),
            (target[:, 1] * tint).clamp(0, 1),
            (target[:, 2] * shade).clamp(0, 1),
        ),
        1,
    )
    mixed = torch.lerp(art[:, :3], hsv_to_rgb(moved), weight[:, None])
    return torch.cat((mixed, art[:, 3:]), 1)


def render(art: Tensor, profile: ColourProfile, specs: Specs) -> Tensor:
    """Draws the described pictures.

    Args:
        art: (N, 4, 128, 128) uint8 RGBA of all emoji, on the same device as `specs`.
        profile: Of the same N drawings.
        specs: Of B pictures.

    Returns:
        (B, 3, 128, 128) uint8 RGB.
    """
    table = torch.tensor([(255, 255, 255), *(rgb for _, rgb in BACKGROUNDS)], device=art.device)
    canvas = (
        (table[specs.background + 1] / 255)[:, :, None, None]
        .expand(-1, -1, *art.shape[-2:])
        .contiguous()
    )
    for side in (0, 1):
        rows = (specs.emoji[:, side] >= 0).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        index = specs.emoji[rows, side]
        own = ColourProfile(
            *(x[index] for x in (profile.mode, profile.hue, profile.saturation, profile.value))
        )
        drawing = recolour(art[index].float() / 255, own, specs.colour[rows, side])
        placed = _place(drawing, specs.placement[rows, side])
        canvas[rows] = placed[:, :3] + canvas[rows] * (1 - placed[:, 3:])
    return (canvas * 255).round().clamp(0, 255).to(torch.uint8)


def _place(drawing: Tensor, placement: Tensor) -> Tensor:
    """Scales and shifts straight-alpha drawings into the frame.

    Returns:
        Premultiplied RGBA of the same shape.
    """
    premultiplied = torch.cat((drawing[:, :3] * drawing[:, 3:], drawing[:, 3:]), 1)
    small = placement[:, 2] < 0.75
    placed = torch.empty_like(premultiplied)
    zero = torch.zeros_like(placement[:, 0])
    inverse = 1 / placement[:, 2]
    shift_x, shift_y = 2 * placement[:, 0] - 1, 2 * placement[:, 1] - 1
    theta = torch.stack(
        (inverse, zero, -shift_x * inverse, zero, inverse, -shift_y * inverse), 1
    ).view(-1, 2, 3)
    for rows, source in ((~small, premultiplied), (small, F.avg_pool2d(premultiplied, 2))):
        chosen = rows.nonzero()[:, 0]
        if len(chosen) == 0:
            continue
        size = [len(chosen), *drawing.shape[1:]]
        grid = F.affine_grid(theta[chosen], size, align_corners=False)
        placed[chosen] = F.grid_sample(
            source[chosen], grid, padding_mode="zeros", align_corners=False
        )
    return placed


def _hue_distance(a: Tensor, b: Tensor) -> Tensor:
    gap = (a - b).abs()
    return torch.minimum(gap, 1 - gap)
