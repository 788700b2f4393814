"""The end of an export's run.py: the recorded request, or the answer to a prompt as text."""

SAMPLE_SCRIPT = '''

NEW_TOKENS = 128
"""Largest number of tokens of an answer."""


def tokens_of(tokenizer, text):
    """Return the token ids of a prompt, in the model's chat format if it has one."""
    if not tokenizer.chat_template:
        return list(tokenizer(text)["input_ids"])
    messages = [{"role": "user", "content": text}]
    chat = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(chat, add_special_tokens=False)["input_ids"])


def answer(text):
    """Yield the answer to a prompt in pieces of text, as soon as they are there."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(HERE / "processor", local_files_only=True)
    prompt = tokens_of(tokenizer, text)
    source = globals().get("stream", run)
    tokens, shown = [], ""
    for token in source(load(), prompt, NEW_TOKENS):
        if token == tokenizer.eos_token_id:
            break
        tokens.append(token)
        words = tokenizer.decode(tokens, skip_special_tokens=True)
        if not words.endswith("\\N{REPLACEMENT CHARACTER}"):  # the rest of a character follows
            yield words[len(shown) :]
            shown = words
    yield tokenizer.decode(tokens, skip_special_tokens=True)[len(shown) :]


def main(prompt):
    """Answer a prompt; without one, run the recorded request and compare."""
    if prompt:
        if not (HERE / "processor").is_dir():
            raise SystemExit("This export has no tokenizer; run it without a prompt.")
        for words in answer(" ".join(prompt)):
            print(words, end="", flush=True)
        print()
        return
    sample = json.loads((HERE / "sample.json").read_text())
    tokens = run(load(), sample["prompt"], sample["new_tokens"])
    print(len(tokens), "tokens |", "as recorded" if tokens == sample["tokens"] else "different")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
'''
"""`run.py "PROMPT"` needs transformers and the tokenizer in `processor/`.

A runtime's script can define `stream(model, prompt, new_tokens)`, which yields token ids: words are
printed as they come then, and generation stops at the end token.
"""
