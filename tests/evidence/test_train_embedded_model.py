"""The training tool on synthetic art: no network, no npm, no resvg, no GPU."""

import colorsys
import itertools
import json
import random
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from skimage.metrics import structural_similarity
from transformers import CLIPTokenizer

from evidence.train_embedded_model import __main__ as command_line
from evidence.train_embedded_model import captions, train
from evidence.train_embedded_model.art import Emoji, find_duplicates
from evidence.train_embedded_model.autoencoder import (
    build_autoencoder,
    decode_latents,
    encode_pictures,
    fold_normalisation,
)
from evidence.train_embedded_model.catalogue import build_catalogue
from evidence.train_embedded_model.colours import (
    BACKGROUND_WORDS,
    BACKGROUNDS,
    COLOUR_WORDS,
    compute_noun,
    is_held_out,
)
from evidence.train_embedded_model.compose import (
    HUED,
    NEUTRAL,
    Specs,
    compute_colour_profile,
    compute_own_colour,
    hsv_to_rgb,
    recolour,
    rgb_to_hsv,
)
from evidence.train_embedded_model.dataset import KINDS, read_dataset
from evidence.train_embedded_model.drafts import draw_up
from evidence.train_embedded_model.evaluate import (
    Generator,
    compute_gaussian_ssim,
    compute_ranks,
    load_generator,
    measure_held_out,
    measure_names,
    measure_pairs,
)
from evidence.train_embedded_model.export import (
    MAX_BYTES,
    TEXT_PREFIX,
    compute_digests,
    prefix_tensors,
)
from evidence.train_embedded_model.prepare import write_dataset
from evidence.train_embedded_model.sampler import PictureSampler
from evidence.train_embedded_model.tokenizer import encode_captions, train_tokenizer
from evidence.train_embedded_model.training import AverageWeights, Settings, compute_learning_rate
from evidence.train_embedded_model.training import train as train_loop
from sdperf.models.known_warnings import known_warnings_ignored

CPU = torch.device("cpu")
RECORD = Path(__file__).parents[2] / "docs/results/embedded-model-training.json"
RED, GREEN, BLUE, GREY = (220, 40, 36), (60, 160, 60), (60, 120, 220), (150, 150, 150)
YELLOW, BLACK, WHITE = (250, 250, 60), (30, 30, 30), (255, 255, 255)
FRUIT, OBJECTS, PEOPLE = 4, 7, 1


def draw(shape, rgb, detail=None):
    """(128, 128, 4) uint8 RGBA: one shape, and a small square of another colour inside it."""
    y, x = np.mgrid[:128, :128] - 63.5
    inside = {
        "disc": x**2 + y**2 < 56**2,
        "square": np.maximum(abs(x), abs(y)) < 50,
        "diamond": abs(x) + abs(y) < 60,
        "bar": (abs(x) < 20) & (abs(y) < 60),
        "ring": (x**2 + y**2 < 58**2) & (x**2 + y**2 > 30**2),
    }[shape]
    art = np.zeros((128, 128, 4), np.uint8)
    art[inside] = (*rgb, 255)
    if detail is not None:
        art[40:52, 56:72] = (*detail, 255)
    return art


EMOJI = (
    (Emoji("1", ("red apple", "apple"), ("fruit", "red", "sweet"), FRUIT), ("disc", RED, GREEN)),
    (Emoji("2", ("banana",), ("fruit",), FRUIT), ("bar", YELLOW, BLACK)),
    (Emoji("3", ("green book",), (), OBJECTS), ("square", GREEN, WHITE)),
    (Emoji("4", ("blue book",), (), OBJECTS), ("square", BLUE, WHITE)),
    (Emoji("5", ("robot", "robot face"), (), OBJECTS), ("diamond", GREY, RED)),
    (Emoji("6", ("surfer",), (), PEOPLE), ("ring", YELLOW, BLACK)),
)
NAMES = [entry for entry, _ in EMOJI]
ART = np.stack([draw(*drawing) for _, drawing in EMOJI])
APPLE, BANANA, BOOK, OTHER_BOOK, ROBOT, SURFER = range(len(EMOJI))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_dataset(NAMES, ART, folder, seed=0, scale=0.001)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return read_dataset(folder, CPU)


@pytest.fixture(scope="module")
def art():
    return torch.from_numpy(ART).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def catalogue(art):
    profile = compute_colour_profile(art)
    return build_catalogue(NAMES, profile.mode.tolist(), compute_own_colour(profile).tolist())


# Captions


@pytest.mark.parametrize(
    ("name", "expected"), [("apple", "an apple"), ("owl", "an owl"), ("cat face", "a cat face")]
)
def test_the_article_goes_by_the_first_letter(name, expected):
    assert captions.write_article(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("apple", "apples"),
        ("cherry", "cherries"),
        ("key", "keys"),
        ("box", "boxes"),
        ("peach", "peaches"),
        ("dish", "dishes"),
        ("glass", "glasses"),
        ("glasses", "glasses"),
        ("red heart", "red hearts"),
    ],
)
def test_the_last_word_takes_the_plural(name, expected):
    assert captions.write_plural(name) == expected


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("red apple", "apple"),
        ("apple", "apple"),
        ("black small square", "small square"),
        ("red", "red"),
        ("reddish fox", "reddish fox"),
    ],
)
def test_a_noun_is_the_name_without_colour_words(name, noun):
    assert compute_noun(name) == noun


def test_a_new_colour_replaces_the_old_one():
    assert captions.write_coloured("red apple", "blue") == "blue apple"


def test_captions_hold_what_they_are_about():
    rng = random.Random(0)
    for _ in range(200):
        assert "apple" in captions.write_phrase("apple", rng)
        grounded = captions.write_on_background("apple", "orange", rng)
        assert grounded.startswith("apple")
        assert "orange" in grounded
        assert "a orange" not in grounded
        assert "cherries" in captions.write_two("cherry", rng)
        pair = captions.write_pair("cat", "owl", rng)
        assert pair.index("cat") < pair.index("owl")


def test_captions_follow_from_the_seed():
    first, second = (
        [captions.write_single("apple", ("a", "b", "c"), rng) for _ in range(50)]
        for rng in (random.Random(3), random.Random(3))
    )
    assert first == second
    assert len(set(first)) > 5


# What is held out


def test_the_held_out_rule_never_changes():
    """The shipped figures rest on it."""
    assert [word for word in COLOUR_WORDS if is_held_out("guitar", f"colour:{word}")] == [
        "purple",
        "white",
    ]


def test_one_combination_in_ten_is_held_out():
    held_out = [
        is_held_out(f"noun {number}", f"colour:{word}")
        for number in range(500)
        for word in COLOUR_WORDS
    ]
    assert 0.08 < np.mean(held_out) < 0.12


def test_only_unambiguous_recolourings_are_offered(catalogue):
    offered = [set(words) for words in catalogue.colours]
    assert "blue" in offered[APPLE]
    assert "red" not in offered[APPLE]  # it is red already
    assert not {"green", "blue"} & offered[BOOK]  # names of other emoji
    assert not offered[OTHER_BOOK]  # "red book" stands for the first book
    assert not offered[SURFER]  # people keep their colours
    assert offered[ROBOT] == set(COLOUR_WORDS) - {"gray"}


@pytest.fixture(scope="module")
def many_nouns():
    """Enough nouns that many combinations are held out; twins share one."""
    names = [f"thing {chr(97 + i)}{chr(97 + j)}" for i in range(6) for j in range(6)]
    emoji = [Emoji(name, (name, f"{name} thing"), ("tag", "b", "c"), OBJECTS) for name in names]
    return build_catalogue(emoji, [HUED] * len(emoji), [0] * len(emoji))


def test_nothing_held_out_is_ever_trained(many_nouns):
    held_out = {
        (index, word)
        for index, words in enumerate(many_nouns.colours)
        for word in words
        if is_held_out(many_nouns.noun(index), f"colour:{word}")
    }
    grounds_held_out = {
        (index, word)
        for index in range(len(many_nouns.emoji))
        for word in BACKGROUND_WORDS
        if is_held_out(many_nouns.noun(index), f"background:{word}")
    }
    assert len(held_out) > 10
    assert len(grounds_held_out) > 10
    drafts, _ = draw_up(many_nouns, seed=0, scale=0.02)
    drawn = {
        (index, COLOUR_WORDS[colour])
        for draft in drafts
        for index, colour in zip(draft.emoji, draft.colour, strict=True)
        if colour >= 0
    }
    grounds_drawn = {
        (draft.emoji[0], BACKGROUND_WORDS[draft.background])
        for draft in drafts
        if draft.background >= 0
    }
    assert not drawn & held_out
    assert not grounds_drawn & grounds_held_out
    texts = {text for draft in drafts for text in draft.captions}
    phrases = {f"{word} {many_nouns.noun(index)}" for index, word in held_out}
    assert not [text for text in texts if any(phrase in text for phrase in phrases)]
    for draft in drafts:
        if draft.background >= 0:
            assert all(BACKGROUND_WORDS[draft.background] in text for text in draft.captions)


def test_every_kind_is_drawn_up_and_follows_from_the_seed(catalogue):
    drafts, sizes = draw_up(catalogue, seed=1, scale=0.001)
    assert len(sizes) == len(KINDS)
    assert all(sizes)
    assert sum(sizes) == len(drafts)
    assert draw_up(catalogue, seed=1, scale=0.001)[0] == drafts
    assert draw_up(catalogue, seed=2, scale=0.001)[0] != drafts


def test_art_that_looks_the_same_is_found():
    nudged = ART[APPLE].copy()
    nudged[60, 60] = 0
    assert find_duplicates(np.stack([*ART, nudged])) == [len(ART)]


# Composition


def test_hsv_agrees_with_colorsys():
    rgb = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    rgb[..., 0, :] = 0.5  # grey
    hsv = rgb_to_hsv(rgb)
    pixels = rgb.permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    expected = torch.tensor([colorsys.rgb_to_hsv(*pixel) for pixel in pixels])
    torch.testing.assert_close(hsv.permute(0, 2, 3, 1).reshape(-1, 3), expected)
    torch.testing.assert_close(hsv_to_rgb(hsv), rgb)


def test_each_drawing_has_its_own_colour(art):
    profile = compute_colour_profile(art)
    assert profile.mode.tolist() == [HUED, HUED, HUED, HUED, NEUTRAL, HUED]
    own = [COLOUR_WORDS[index] for index in compute_own_colour(profile).tolist()]
    assert own == ["red", "yellow", "green", "blue", "gray", "yellow"]


def test_recolouring_moves_the_main_colour_and_nothing_else(art):
    profile = compute_colour_profile(art[[APPLE]])
    blue = recolour(art[[APPLE]], profile, torch.tensor([COLOUR_WORDS.index("blue")]))
    body, leaf = blue[0, :3, 90, 64], blue[0, :3, 46, 64]
    assert body.argmax() == 2
    torch.testing.assert_close(leaf, art[APPLE, :3, 46, 64])
    torch.testing.assert_close(blue[:, 3], art[[APPLE], 3])
    same = recolour(art[[APPLE]], profile, torch.tensor([-1]))
    torch.testing.assert_close(same, art[[APPLE]], atol=1e-6, rtol=0)


def specs(*, left, right=-1, background=-1, places=((0.5, 0.5, 1.0),) * 2):
    return Specs(
        emoji=torch.tensor([[left, right]]),
        colour=torch.tensor([[-1, -1]]),
        placement=torch.tensor([places]),
        background=torch.tensor([background]),
    )


def test_a_plain_picture_is_the_art_on_white(data):
    alpha = ART[..., 3:] / 255
    expected = ART[..., :3] * alpha + 255 * (1 - alpha)
    pictures = data.draw_plain()
    assert pictures.shape == (len(ART), 3, 128, 128)
    assert pictures.dtype == torch.uint8
    assert np.abs(pictures.permute(0, 2, 3, 1).numpy() - expected).max() <= 1


@pytest.mark.parametrize("background", range(len(BACKGROUNDS)))
def test_a_background_fills_the_frame(data, background):
    (picture,) = data.draw(specs(left=APPLE, background=background))
    assert tuple(picture[:, 0, 0].tolist()) == BACKGROUNDS[background][1]
    assert picture[0, 90, 64] == RED[0]


def test_a_pair_keeps_to_its_halves(data):
    places = ((0.255, 0.5, 0.5), (0.745, 0.5, 0.5))
    (picture,) = data.draw(specs(left=APPLE, right=OTHER_BOOK, places=places))
    left, right = picture[:, 32:96, :64], picture[:, 32:96, 64:]
    assert left[:, 45, 32].argmax() == 0
    assert right[:, 45, 32].argmax() == 2
    assert (picture[:, :20] == 255).all()
    assert (picture[:, -20:] == 255).all()
    assert (picture[:, :, 64] > 250).all()


def test_thinning_out_keeps_every_kind(data):
    thin = data.thin_out(20)
    assert all(thin.sizes)
    assert sum(thin.sizes) == len(thin.specs) == len(thin.caption_rows)
    assert 15 <= len(thin.specs) <= 30


def test_the_sampler_draws_every_kind_by_its_weight(data):
    sampler = PictureSampler(data.sizes, CPU, seed=0)
    ends = np.cumsum(data.sizes)
    early = np.searchsorted(ends, sampler.draw(4000, 0.0).numpy(), side="right")
    late = np.searchsorted(ends, sampler.draw(4000, 0.9).numpy(), side="right")
    pair = KINDS.index("pair")
    assert 0.11 < np.mean(early == pair) < 0.17
    assert 0.19 < np.mean(late == pair) < 0.25
    assert set(early) == set(range(len(KINDS)))


# Tokenizer


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["red apple", "a red apple", "blue apples", "banana"] * 5, folder, 600)
    return folder


@pytest.mark.parametrize("text", ["red apple", "crème brûlée", "日本", "🍎 🍏", "don't", "x 42"])
def test_any_text_survives_the_tokenizer(tokenizer_folder, text):
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    ids = tokenizer(text).input_ids
    restored = tokenizer.decode(ids, skip_special_tokens=True)
    assert restored.replace(" ", "") == text.replace(" ", "")
    assert (ids[0], ids[-1]) == (0, 1)


def test_words_of_the_captions_become_single_tokens(tokenizer_folder):
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    assert tokenizer.tokenize("Red   APPLE") == ["red</w>", "apple</w>"]


def test_captions_are_padded_and_cut(tokenizer_folder):
    rows = encode_captions(["red apple", "banana " * 40], tokenizer_folder)
    assert rows.shape == (2, 32)
    assert rows.dtype == np.int16
    assert rows[0, 0] == 0
    assert (rows[0, 3:] == 1).all()
    assert (rows[1, :-1] != 1).all()
    assert rows[1, -1] == 1


def test_the_same_captions_make_the_same_tokenizer(tokenizer_folder, tmp_path):
    train_tokenizer(["red apple", "a red apple", "blue apples", "banana"] * 5, tmp_path, 600)
    assert compute_digests(tmp_path) == compute_digests(tokenizer_folder)


# Autoencoder


def test_folding_normalises_latents_and_keeps_the_decoding(data):
    torch.manual_seed(0)
    model = build_autoencoder().eval().requires_grad_(False)
    pictures = data.draw_plain()[[APPLE, BOOK, ROBOT]]
    scaled = pictures.float() / 127.5 - 1
    latents = encode_pictures(model, pictures)
    decoded = model.decode(latents).sample
    deviation = model.encode(scaled).latent_dist.std
    normalised = fold_normalisation(model, latents)
    assert normalised.dtype == torch.float16
    again = encode_pictures(model, pictures)
    torch.testing.assert_close(again, normalised.float(), atol=5e-3, rtol=0)
    torch.testing.assert_close(again.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    variance = again.var((0, 2, 3), correction=0)
    torch.testing.assert_close(variance, torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(model.decode(again).sample, decoded, atol=1e-3, rtol=0)
    widths = (again.std((0, 2, 3)) / latents.std((0, 2, 3)))[:, None, None]
    after = model.encode(scaled).latent_dist.std
    torch.testing.assert_close(after, deviation * widths, atol=1e-3, rtol=1e-3)
    assert decode_latents(model, again).dtype == torch.uint8


# The training loop


def test_the_learning_rate_rises_and_ends_at_nothing():
    rates = [compute_learning_rate(step / 100, peak=2.0, warmup=0.04) for step in range(101)]
    assert 0 < rates[0] < 0.1
    assert rates[4] == max(rates) == 2.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == 0
    assert compute_learning_rate(1.5, peak=2.0, warmup=0.04) == 0


def test_averaged_weights_follow_the_power_function():
    """Of a weight that grows evenly from 0 to 1 the average is (g + 1) / (g + 2)."""
    weight = torch.zeros(1, dtype=torch.float64)
    average = AverageWeights([weight])
    for step in range(1, 3001):
        weight.fill_(step / 3000)
        average.update()
    assert float(average.values[0]) == pytest.approx(17.97 / 18.97, abs=1e-3)


def test_the_first_average_is_the_weight_itself():
    weight = torch.zeros(1)
    average = AverageWeights([weight])
    weight.fill_(3.0)
    average.update()
    assert average.values[0].item() == 3.0


def run_training(settings, *, losses=None, milestones=()):
    """Trains one weight towards 1 on a clock that moves on by a second whenever it is read."""
    weight = torch.nn.Parameter(torch.zeros(1))
    factors = iter(losses or [])
    ticks = itertools.count()
    lines = []
    average, report = train_loop(
        "toy",
        [weight],
        fill=lambda progress: None,
        compute_loss=lambda: (weight - 1).square().sum() * next(factors, 1.0),
        settings=settings,
        log=lines.append,
        milestones=milestones,
        clock=lambda: float(next(ticks)),
    )
    return weight, average, report, lines


def test_training_ends_when_the_time_is_spent():
    seen = []
    settings = Settings(seconds=200, batch_size=1, learning_rate=0.1, log_every=50)
    milestones = [(0.5, lambda values: seen.append(values[0].clone()))]
    weight, average, report, lines = run_training(settings, milestones=milestones)
    assert weight.item() == pytest.approx(1, abs=0.05)
    assert average[0].item() == pytest.approx(weight.item(), abs=0.05)
    assert 180 <= report.steps <= 200
    assert report.curve[-1]["loss"] < report.curve[0]["loss"]
    assert len(seen) == 1
    assert "lr 0.00e+00" in lines[-1]


def test_training_ends_after_the_steps_that_were_asked_for():
    settings = Settings(seconds=1e9, batch_size=1, learning_rate=0.1, max_steps=2)
    assert run_training(settings)[2].steps == 2


def test_training_recovers_from_a_loss_that_is_not_finite():
    settings = Settings(seconds=100, batch_size=1, learning_rate=0.1, log_every=10)
    losses = [*[1.0] * 30, float("nan")]
    weight, average, report, lines = run_training(settings, losses=losses)
    assert report.recoveries == 1
    assert torch.isfinite(weight).all()
    assert torch.isfinite(average[0]).all()
    assert any("not finite" in line for line in lines)


# Figures


def test_the_rank_counts_nearer_references():
    references = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    pictures = torch.tensor([[0.1], [0.1], [0.1], [9.0]])
    ranks = compute_ranks(pictures, references, torch.tensor([0, 2, 3, 3]))
    assert ranks.tolist() == [1, 3, 4, 1]


def test_ssim_agrees_with_scikit_image():
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 256, (2, 3, 32, 40), generator=generator, dtype=torch.uint8)
    b = (a.float() * 0.8 + 20).to(torch.uint8)
    b[1] = a[1]
    scores = compute_gaussian_ssim(a, b)
    expected = structural_similarity(
        a[0].numpy(),
        b[0].numpy(),
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert float(scores[0]) == pytest.approx(expected, abs=1e-6)
    assert float(scores[1]) == pytest.approx(1)


class Artist:
    """Stands in for the pipeline: draws each prompt from the art, or always the same emoji."""

    def __init__(self, data, *, always=None):
        self._data = data
        self._always = always

    def generate(self, prompts, seed=0):
        return torch.cat([self._draw(prompt) for prompt in prompts])

    def _draw(self, prompt):
        colour = background = -1
        names = prompt.removesuffix(" background").split(" on a ")
        if len(names) == 2:
            background = BACKGROUND_WORDS.index(names[1])
        parts = names[0].split(" and ")
        if self._always is not None:
            parts = [self._always] * len(parts)
        found = []
        for part in parts:
            index = self._find(part)
            if index is None:
                word, noun = part.split(" ", 1)
                colour, index = COLOUR_WORDS.index(word), self._find(noun)
            found.append(index)
        places = ((0.25, 0.5, 0.5), (0.75, 0.5, 0.5)) if len(found) == 2 else None
        described = specs(
            left=found[0],
            right=found[1] if places else -1,
            background=background,
            places=places or ((0.5, 0.5, 1.0),) * 2,
        )
        return self._data.draw(replace(described, colour=torch.tensor([[colour, -1]])))

    def _find(self, name):
        for index, entry in enumerate(self._data.emoji):
            if name in (*entry["names"], entry["noun"]):
                return index
        return None


PROMPTS = [entry.names[0] for entry in NAMES]


def test_right_pictures_have_the_right_names(data):
    figures = measure_names(Artist(data), data, PROMPTS, range(len(PROMPTS)))
    assert figures["top1_percent"] == 100
    assert figures["worst_rank"] == 1
    assert not figures["missed"]


def test_wrong_pictures_have_not(data):
    artist = Artist(data, always="banana")
    figures = measure_names(artist, data, PROMPTS, range(len(PROMPTS)))
    assert figures["top1_percent"] == pytest.approx(100 / len(PROMPTS))
    assert "red apple" in [prompt for prompt, _ in figures["missed"]]


def test_pairs_are_ranked_by_half(data):
    assert measure_pairs(Artist(data), data, 8, seed=0)["both_top1_percent"] == 100
    wrong = measure_pairs(Artist(data, always="banana"), data, 8, seed=0)
    assert wrong["both_top1_percent"] < 50


def test_held_out_colours_and_backgrounds_are_told(data):
    right = measure_held_out(Artist(data), data, 8, seed=0)
    assert right["colour_prompts"] > 0
    assert right["background_prompts"] > 0
    assert {right[key] for key in right if key.endswith("_percent")} == {100}
    wrong = measure_held_out(Artist(data, always="banana"), data, 8, seed=0)
    assert wrong["colour_right_percent"] < 100
    assert wrong["colour_emoji_top1_percent"] < 100
    assert wrong["background_emoji_top1_percent"] < 100


# From the data to the folder


def parse_options(*words):
    arguments = vars(command_line.parse_arguments(["train", *words]))
    return train.Options(**{field.name: arguments[field.name] for field in fields(train.Options)})


@pytest.mark.long
def test_two_steps_make_a_folder_that_plain_diffusers_loads(folder, tmp_path, monkeypatch):
    def load_quick(model, device):
        return load_generator(model, device, steps=1)

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(train, "Settings", partial(Settings, max_steps=2))
    monkeypatch.setattr(train, "PROMPTS", ("red apple",))
    monkeypatch.setattr(train, "load_generator", load_quick)
    out = tmp_path / "out"
    words = f"--data {folder} --out {out} --device cpu --limit 12 --save-at 0 --vae-seconds 9999"
    words += " --unet-seconds 9999 --vae-batch-size 2 --unet-batch-size 2"
    words += " --evaluate-names 2 --evaluate-prompts 1 --no-compile"
    with known_warnings_ignored():
        train.run(parse_options(*words.split()))

    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["vae"]["steps"] == record["unet"]["steps"] == 2
    assert record["sha256"] == compute_digests(out / "model")
    assert record["size_bytes"] <= MAX_BYTES
    assert record["figures"]["names"]["prompts"] == 2
    assert record["figures"]["steps"] == 1
    assert (out / "contact-sheet.png").stat().st_size > 0
    assert (out / "model-early" / "model_index.json").exists()
    assert not list((out / "model").rglob("*.bin"))

    pipeline = StableDiffusionPipeline.from_pretrained(out / "model")
    pipeline.to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with known_warnings_ignored():
        (image,) = pipeline("red apple", num_inference_steps=1).images
    assert image.size == (128, 128)


def test_the_noise_of_a_prompt_does_not_hang_on_the_batch():
    class Recorder:
        device, seen = CPU, []

        class unet:
            dtype = torch.float32

        def __call__(self, prompts, *, latents, **options):
            self.seen.append(latents)
            return type("Output", (), {"images": torch.zeros((len(prompts), 3, 128, 128))})

    for batch_size in (1, 3):
        Generator(Recorder(), batch_size=batch_size).generate(["a", "b", "c"])
    *single, together = Recorder.seen
    assert torch.equal(torch.cat(single), together)


def test_the_command_line_knows_the_shipped_runs_settings():
    record = json.loads(RECORD.read_text(encoding="utf-8"))["options"]
    options = {key: str(value) for key, value in vars(parse_options()).items()}
    assert {key: options[key] for key in options if key not in ("data", "out")} == {
        key: str(record[key]) for key in record if key not in ("data", "out")
    }


def test_a_prefix_changes_the_names_of_tensors_and_nothing_else(tmp_path):
    path = tmp_path / "model.safetensors"
    values = {"a.weight": torch.arange(6.0).reshape(2, 3), f"{TEXT_PREFIX}b": torch.ones(5).half()}
    save_file(values, path, metadata={"format": "pt"})
    prefix_tensors(path, TEXT_PREFIX)
    once = path.read_bytes()
    found = load_file(path)
    assert sorted(found) == [f"{TEXT_PREFIX}a.weight", f"{TEXT_PREFIX}b"]
    assert torch.equal(found[f"{TEXT_PREFIX}a.weight"], values["a.weight"])
    assert torch.equal(found[f"{TEXT_PREFIX}b"], values[f"{TEXT_PREFIX}b"])
    prefix_tensors(path, TEXT_PREFIX)
    assert path.read_bytes() == once
