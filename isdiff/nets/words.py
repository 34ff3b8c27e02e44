"""A tokenizer of whole words: captions of drawn images need a few dozen, and PowerPaint's task words fit in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# PowerPaint v1's learned words, in the order of their rows in the embedding table; each stands for ten vectors.
TASK_WORDS = ("P_ctxt", "P_shape", "P_obj")
VECTORS = 10
START, END, UNKNOWN = "<start>", "<end>", "<unknown>"


def build_tokenizer(captions: Iterable[str], length: int = 48) -> Any:
    """A ``PreTrainedTokenizerFast`` that knows the captions' words and punctuation, and the task words.

    Ids are the special tokens, then the words in alphabetical order, then PowerPaint's; padding is ``<end>``, as in
    Stable Diffusion 1.5. Other words become ``<unknown>``.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.Whitespace()
    words = sorted({word for text in captions for word, _ in splitter.pre_tokenize_str(text.lower())})
    vocabulary = {word: i for i, word in enumerate([START, END, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, vocabulary[token]) for token in (START, END)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, unk_token=UNKNOWN,
        model_max_length=length,
    )  # fmt: skip
    fast.add_tokens([f"{word}_{i}" for word in TASK_WORDS for i in range(VECTORS)])
    return fast
