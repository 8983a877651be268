#!/usr/bin/env python3
"""Writes tiny llama-architecture models (GGUF v3, F32 tensors), so that a real server can be tested without weights.

noise   2 layers x 64 dimensions of seeded Gaussian weights. What it says is noise with broken UTF-8: a hostile
        upstream, and an embedding model.
script  one zero layer and one-hot embeddings: each token alone determines the next one, so the network is a
        first-order Markov chain and the server's replies are exact. It thinks --think, says --say and, where the
        request carries tools and does not end in a tool result, calls --call.

usage: gguf_tiny.py OUT.gguf {noise|script} [--say T] [--think T] [--call NAME JSON] [--ctx N] [--words FILE]
"""
import argparse
import array
import random
import re
import struct

# Value types of GGUF metadata.
U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9
# Token types of the vocabulary.
NORMAL, UNK, CTRL, USER, BYTE = 1, 2, 3, 4, 6

SAY = "Hello, I am a tiny test model. Café 日本語 🙂.\nThat is all!"
THINK = "Let me think first."
CALL = ["get_weather", '{"city": "Paris"}']

CONTROL_TOKENS = ["<|im_start|>", "<|im_end|>", "<|call|>", "<|reason|>", "<|say|>"]
TAG_TOKENS = ["<tool_call>", "</tool_call>", "<think>", "</think>"]

# The generation prompt ends in one of three control tokens: that token is the start of the chain to follow.
TEMPLATE = """{%- if tools %}<|im_start|>system
Call functions as JSON inside <tool_call></tool_call>. Signatures:
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}{%- for m in messages -%}
{%- if m.role == 'tool' -%}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% elif m.role == 'assistant' -%}<|im_start|>assistant
{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content or '' }}
{%- for tc in (m.tool_calls or []) -%}{%- if tc.function %}{% set tc = tc.function %}{% endif %}
<tool_call>
{"name": "{{ tc.name }}", "arguments": {{ tc.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% else -%}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif -%}{%- endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant
{% if tools and messages[-1].role != 'tool' %}<|call|>{% elif enable_thinking is not defined or enable_thinking \
%}<|reason|>{% else %}<|say|>{% endif %}{%- endif -%}"""


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, v):
    if kind == STR:
        return string(v)
    if kind == ARR:
        return struct.pack("<IQ", v[0], len(v[1])) + b"".join(value(v[0], x) for x in v[1])
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], v)


def write_gguf(path, metadata, tensors):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, kind, v in metadata:
        head += string(key) + struct.pack("<I", kind) + value(kind, v)
    body = bytearray()
    for name, dims, data in tensors:  # dims: fastest-varying first
        head += string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        head += struct.pack("<IQ", 0, len(body))  # type 0 is F32
        body += array.array("f", data).tobytes()
        body += b"\0" * (-len(body) % 32)
    with open(path, "wb") as out:
        out.write(head + b"\0" * (-len(head) % 32) + body)


def pieces(text, seen):
    """Cuts text into pieces none of which was used before: a first-order chain needs distinct states."""
    out, piece = [], ""
    for part in re.findall(r" ?\w+|[^\w]", text):
        piece += part.replace(" ", "▁")
        if piece not in seen:
            seen.add(piece)
            out.append(piece)
            piece = ""
    if piece:
        out[-1:] = [out[-1] + piece]
        seen.add(out[-1])
    return out


class Shape:
    """The dimensions of a network, and what fills its inner weights."""

    def __init__(self, embedding, feed_forward, layers, heads, kv_heads, head_size, fill):
        self.embedding, self.feed_forward, self.layers = embedding, feed_forward, layers
        self.heads, self.kv_heads, self.head_size, self.fill = heads, kv_heads, head_size, fill


def noise(tokens, types):
    fresh = [chr(c) for c in range(33, 127)] + ["▁"]
    tokens += fresh
    types += [NORMAL] * len(fresh)
    source = random.Random(42)
    shape = Shape(64, 128, 2, 4, 2, 16, lambda n: [source.gauss(0, 0.08) for _ in range(n)])
    cells = shape.embedding * len(tokens)
    return shape, shape.fill(cells), [4 * x for x in shape.fill(cells)]


def words_of(path, seen):
    """Every prefix of every word of a file: real prompts then cost far fewer tokens."""
    with open(path, errors="replace") as f:
        for word in re.findall(r"[A-Za-z_]{3,}", f.read()):
            for end in range(1, len(word) + 1):
                for token in ("▁" + word[:end], word[:end]):
                    if len(token) > 1 and token not in seen:
                        seen.add(token)
                        yield token


def script(tokens, types, options):
    fixed = len(tokens)
    seen = set(tokens) | set(TAG_TOKENS)
    say = pieces(options.say, seen)
    call = pieces('\n{"name": "%s", "arguments": %s}\n' % tuple(options.call), seen)
    think = pieces("\n%s\n" % options.think, seen)
    gap = pieces("\n\n", seen)
    tokens += TAG_TOKENS + say + call + think + gap
    types += [USER] * len(TAG_TOKENS) + [NORMAL] * (len(tokens) - fixed - len(TAG_TOKENS))
    states = len(tokens)  # tokens with a state of their own; all later ones share state 0
    if options.words:
        tokens += words_of(options.words, seen)
        types += [NORMAL] * (len(tokens) - states)

    index = {token: i for i, token in enumerate(tokens)}
    end = index["<|im_end|>"]
    following = {end: end}

    def chain(start, sequence, last):
        here = index[start]
        for piece in sequence:
            following[here] = here = index[piece]
        following[here] = last

    chain("<|say|>", say, end)
    chain("<|call|>", ["<tool_call>"] + call + ["</tool_call>"], end)
    chain("<|reason|>", ["<think>"] + think + ["</think>"] + gap, index[say[0]])

    width = (states + 63) // 64 * 64
    shape = Shape(width, 32, 1, 1, 1, 32, lambda n: [0.0] * n)
    embedding = array.array("f", bytes(4 * width * len(tokens)))
    head = array.array("f", bytes(4 * width * len(tokens)))
    for token in range(len(tokens)):
        embedding[token * width + (token if token < states else 0)] = 1.0
    for token in range(states):
        head[following.get(token, index[say[0]]) * width + token] = 2.0
    return shape, embedding, head


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("kind", choices=["noise", "script"])
    parser.add_argument("--say", default=SAY)
    parser.add_argument("--think", default=THINK)
    parser.add_argument("--call", nargs=2, default=CALL, metavar=("NAME", "JSON"))
    parser.add_argument("--ctx", type=int, default=262144)
    parser.add_argument("--words")
    options = parser.parse_args()

    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)] + CONTROL_TOKENS
    types = [UNK, CTRL, CTRL] + [BYTE] * 256 + [CTRL] * len(CONTROL_TOKENS)
    if options.kind == "noise":
        shape, embedding, head = noise(tokens, types)
    else:
        shape, embedding, head = script(tokens, types, options)

    width, n = shape.embedding, len(tokens)
    metadata = [
        ("general.architecture", STR, "llama"),
        ("general.name", STR, "tiny-" + options.kind),
        ("general.file_type", U32, 0),
        ("llama.context_length", U32, options.ctx),
        ("llama.embedding_length", U32, width),
        ("llama.block_count", U32, shape.layers),
        ("llama.feed_forward_length", U32, shape.feed_forward),
        ("llama.attention.head_count", U32, shape.heads),
        ("llama.attention.head_count_kv", U32, shape.kv_heads),
        ("llama.attention.key_length", U32, shape.head_size),
        ("llama.attention.value_length", U32, shape.head_size),
        ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        ("llama.rope.dimension_count", U32, shape.head_size),
        ("llama.vocab_size", U32, n),
        ("tokenizer.ggml.model", STR, "llama"),
        ("tokenizer.ggml.tokens", ARR, (STR, tokens)),
        ("tokenizer.ggml.scores", ARR, (F32, [0.0] * n)),
        ("tokenizer.ggml.token_type", ARR, (I32, types)),
        ("tokenizer.ggml.bos_token_id", U32, 1),
        ("tokenizer.ggml.eos_token_id", U32, tokens.index("<|im_end|>")),
        ("tokenizer.ggml.unknown_token_id", U32, 0),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_space_prefix", BOOL, False),
        ("tokenizer.chat_template", STR, TEMPLATE),
    ]
    tensors = [("token_embd.weight", [width, n], embedding)]
    ones = [1.0] * width
    query, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    for layer in range(shape.layers):
        for name, dims in [
            ("attn_norm", [width]),
            ("attn_q", [width, query]),
            ("attn_k", [width, keys]),
            ("attn_v", [width, keys]),
            ("attn_output", [query, width]),
            ("ffn_norm", [width]),
            ("ffn_gate", [width, shape.feed_forward]),
            ("ffn_up", [width, shape.feed_forward]),
            ("ffn_down", [shape.feed_forward, width]),
        ]:
            data = ones if len(dims) == 1 else shape.fill(dims[0] * dims[1])
            tensors.append(("blk.%d.%s.weight" % (layer, name), dims, data))
    tensors += [("output_norm.weight", [width], ones), ("output.weight", [width, n], head)]
    write_gguf(options.out, metadata, tensors)


if __name__ == "__main__":
    main()
