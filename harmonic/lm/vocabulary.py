"""Tokenizers of our own: byte-level BPE with single digits, and one token for each text that a format repeats."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

EOS, PAD = "<eos>", "<pad>"
SLOT = "<slot{}>"


def table_tokenizer(values: Iterable[str], segments: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A tokenizer for one table; `segments` become single tokens.

    Args:
        values: texts to learn merges from; a merge may cross words, but never touches a digit.
        segments: what the format fixes, and named categories.
        vocab_size: tokens for values, single bytes included; the segments come on top.
    """
    tokenizer = _train(values, vocab_size, by_words=False)
    tokenizer.add_tokens([AddedToken(segment, normalized=False) for segment in dict.fromkeys(segments)])
    return _wrapped(tokenizer)


def base_tokenizer(texts: Iterable[str], segments: Sequence[str], vocab_size: int, slots: int) -> PreTrainedTokenizerFast:
    """A tokenizer for tables not known yet: merges within words, `segments` as single tokens, and slots.

    A slot is a token without a meaning of its own. `bind` gives the slots to what one table repeats (its keys, its named
    categories), so that a model that has learnt to read slots from their context reads a new table at a token a name.
    """
    tokenizer = _train(texts, vocab_size, by_words=True)
    added = [*dict.fromkeys(segments), *(SLOT.format(number) for number in range(slots))]
    tokenizer.add_tokens([AddedToken(segment, normalized=False) for segment in added])
    return _wrapped(tokenizer)


def _train(texts: Iterable[str], vocab_size: int, *, by_words: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=by_words),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD)


def free_slots(tokenizer: Any) -> list[int]:
    """Ids of the slots that are bound to nothing, ascending; none in a tokenizer that never had any."""
    known = tokenizer.get_vocab()
    ids: list[int] = []
    while (slot := known.get(SLOT.format(len(ids)))) is not None:
        ids.append(slot)
    return ids


def unknown(tokenizer: Any, segments: Iterable[str]) -> list[str]:
    """Those segments, each once, that are no token yet."""
    return [
        segment
        for segment in dict.fromkeys(segments)
        if segment and tokenizer.backend_tokenizer.token_to_id(segment) is None
    ]


def bind(tokenizer: Any, segments: Sequence[str]) -> Any:
    """The same tokenizer with its slots given to `segments` in their order, as far as the slots go; without those left over.

    Segments that are tokens already keep theirs. What is bound no longer is a slot: the tokenizer is an ordinary one that
    Hugging Face saves and loads. Slots are the last tokens, so that the model's embeddings are cut to the tokenizer's length
    (`resize_token_embeddings`), and a row can hold no slot that means nothing. One without slots is returned as it is.
    """
    slots = free_slots(tokenizer)
    if not slots:
        return tokenizer
    bound = dict(zip(slots, unknown(tokenizer, segments), strict=False))
    left_over = set(slots) - set(bound)
    plain = json.loads(tokenizer.backend_tokenizer.to_str())
    plain["added_tokens"] = [
        {**token, "content": bound.get(token["id"], token["content"])}
        for token in plain["added_tokens"]
        if token["id"] not in left_over
    ]
    return _wrapped(Tokenizer.from_str(json.dumps(plain)))
