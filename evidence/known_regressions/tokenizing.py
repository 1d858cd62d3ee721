"""A tokenizer that is written in Python, as models for Chinese prompts have."""

from __future__ import annotations

from typing import Any


def make_character_tokenizer(limit: int, rows: int, added: int = 5_000) -> Any:
    """Make a tokenizer in Python: letters and Chinese characters, each an added token.

    Args:
        limit: Most tokens of a prompt.
        rows: Of the text encoder's table; larger numbers begin at 0 again.
        added: Chinese characters.
    """
    from transformers import PreTrainedTokenizer

    class CharacterTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
        """Knows ``?`` by itself, which stands for all that was not added."""

        vocab_size = 1

        def get_vocab(self) -> dict[str, int]:
            return {"?": 0, **self.added_tokens_encoder}

        def _tokenize(self, text: str, **_: Any) -> list[str]:
            return ["?" for _ in text]

        def _convert_token_to_id(self, _token: str) -> int:
            return 0

        def _convert_id_to_token(self, _index: int) -> str:
            return "?"

        def __call__(self, *arguments: Any, **named: Any) -> Any:
            found = super().__call__(*arguments, **named)
            found["input_ids"] %= rows
            return found

    tokenizer = CharacterTokenizer(unk_token="?", pad_token="?", model_max_length=limit)
    codes = (*range(ord("@"), ord("~")), *range(0x4E00, 0x4E00 + added))
    tokenizer.add_tokens([chr(code) for code in codes])
    return tokenizer
