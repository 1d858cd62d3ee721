"""A small CLIP-style byte-level BPE, in the files that every version of `CLIPTokenizer` reads."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
MAX_LENGTH = 32
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_tokenizer(captions: Iterable[str], folder: Path, vocabulary_size: int = 1998) -> int:
    """Learns the merges and writes vocab.json, merges.txt and the two configs.

    Args:
        captions: The text to learn from; lower case.
        folder: Where the files go.
        vocabulary_size: Entries in all, at most: two special tokens, each byte inside and at the
            end of a word, and what is learned.

    Returns:
        The number of entries in the vocabulary. START is entry 0 and END, which also pads, entry 1.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(
        models.BPE(end_of_word_suffix=WORD_END, continuing_subword_prefix="", unk_token=END)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    # Given as special tokens, the entries for the ends of words have fixed places; left to the
    # trainer, they come in the order of an unseeded hash map, and the rare ones are missing.
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=[START, END, *(byte + WORD_END for byte in alphabet)],
        initial_alphabet=alphabet,
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8"
    )
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    _write_json(folder / "special_tokens_map.json", special)
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_LENGTH,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
        **special,
    }
    _write_json(folder / "tokenizer_config.json", config)
    return len(vocabulary)


def encode_captions(captions: list[str], folder: Path) -> NDArray[np.int16]:
    """Encodes with the exported files themselves, through transformers.

    Returns:
        (len(captions), 32) int16.
    """
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    rows = []
    for begin in range(0, len(captions), 20_000):
        batch = tokenizer(
            captions[begin : begin + 20_000],
            padding="max_length",
            max_length=MAX_LENGTH,
            truncation=True,
        )
        rows.append(np.asarray(batch["input_ids"], dtype=np.int16))
    return np.concatenate(rows)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
