"""Small tokenizers built on the spot: every text has ids, no vocabulary is fetched."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any, Final

START: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
CLIP_START_ID: Final = 512
CLIP_END_ID: Final = 513
CLIP_VOCAB_SIZE: Final = 514
T5_VOCAB_SIZE: Final = 3 + 1 + len(string.printable.strip())
_CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


def build_clip_tokenizer(max_length: int) -> Any:
    """Build CLIP's byte-level tokenizer without merges: one id a byte.

    Args:
        max_length: Tokens of a prompt, start and end included.
    """
    from transformers import CLIPTokenizer

    bytes_as_text = _bytes_as_text()
    tokens = [*bytes_as_text, *(f"{character}</w>" for character in bytes_as_text), START, END]
    configuration = {
        "model_max_length": max_length,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = {token: index for index, token in enumerate(tokens)}
        (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(configuration), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder)


def build_t5_tokenizer(max_length: int) -> Any:
    """Build a T5 tokenizer of single ASCII characters.

    Args:
        max_length: Tokens of a prompt, end included.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = [(character, -2.0) for character in ["\u2581", *string.printable.strip()]]
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = Tokenizer(models.Unigram([*specials, *characters], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair=None, special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def build_chat_tokenizer(max_length: int = 64) -> Any:
    """Build a tokenizer of characters that knows how a chat is written.

    Args:
        max_length: Tokens of a prompt, end included.
    """
    tokenizer = build_t5_tokenizer(max_length)
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def _bytes_as_text() -> list[str]:
    """Return the printable stand-ins of the 256 bytes, as byte-level BPE defines them.

    Source: `bytes_to_unicode` of GPT-2's encoder.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in printable]
    return [
        chr(byte) if byte in printable else chr(256 + hidden.index(byte)) for byte in range(256)
    ]
