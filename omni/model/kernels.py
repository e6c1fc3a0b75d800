"""Loops that numba compiles, for a few tokens at a time, where calls of torch take longer than their work: the stack,
the stem, and the decoder of nano's codec.

A decoding step of a small model is mostly the way to its products. Six layers of width 256 on one core, with a past of
96 tokens:

| rows | in one compiled call | by 130 calls of torch and those for the past of each row |
|---|---|---|
| 1 | 0.7 ms | 2.9 ms |
| 4 | 1.2 ms | 6.2 ms |
| 16 | 3.5 ms | 11.9 ms |

A product reads each weight once and keeps four rows by two columns in registers. The two columns lie half a matrix
apart, and what is summed over the past comes from its four quarters: so each is a long stream that the processor
fetches ahead. With neighbours, a product of four rows waited for memory until it took 2.7 times as long. That makes 70
GFLOPS at 16 rows, beside 40 of torch and 38 of MKL with weights packed for so many. From some sixty tokens of one row
on torch is as fast. With long pasts it is the memory: keys and values of 16 rows of 500 tokens take as long as all
products.

The order of a sum is free (`LOOSE`), but nothing is assumed to be finite: a poisoned row stays poisoned, and no other
becomes so. Compiling takes some seconds, once for a machine: numba keeps the result beside this file, or where that
cannot be written with the user's caches. It makes it anew when this file changes, and would not notice if another one
that these loops come from did: so all of them are here.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.optional import need

Array = NDArray[np.float32]
Bits = NDArray[np.int32]
Places = NDArray[np.int64]
Loop = TypeVar("Loop", bound=Callable[..., object])
numba = need("numba", extra="model", use="running a model")
FEW = 64  # tokens up to which these loops are faster than torch
LOOSE = {"reassoc", "contract", "arcp", "nsz"}  # of LLVM's liberties those that keep NaN and ∞
ONE, NONE = np.float32(1), np.float32(0)
# Of the exponential function, by Cephes: 2^k · e^r with |r| ≤ log(2)/2, e^r by a polynomial.
LOWEST, HIGHEST = np.float32(-87), np.float32(88)
LOG2_E, HALF = np.float32(1.44269504), np.float32(0.5)
LOG_2, LOG_2_REST = np.float32(0.693359375), np.float32(-2.12194440e-4)
P0, P1, P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
P3, P4, P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
EXPONENT = 23  # bits below the exponent of a float
# The error function by Abramowitz and Stegun, 7.1.26: within 2e-7.
NEAR = np.float32(0.3275911)
E1, E2, E3 = np.float32(0.254829592), np.float32(-0.284496736), np.float32(1.421413741)
E4, E5 = np.float32(-1.453152027), np.float32(1.061405429)
SQRT_HALF = np.float32(0.5**0.5)
# Of the GELU by the hyperbolic tangent: x / (1 + e^(-2z)) with z = √(2/π)·(x + 0.044715·x³).
TWICE, CUBED = np.float32(2 * (2 / np.pi) ** 0.5), np.float32(0.044715)
LAYER_EPS = np.float32(1e-5)  # of a layer norm


def compiled(loop: Loop) -> Loop:
    """The loop as machine code, made at its first call; without the interpreter's lock."""
    options: dict[str, Any] = {"fastmath": LOOSE, "error_model": "numpy", "nogil": True}
    try:
        return cast(Loop, numba.njit(cache=True, **options)(loop))
    except RuntimeError:  # no folder to keep it in
        return cast(Loop, numba.njit(**options)(loop))


@compiled
def multiply(x: Array, weight: Array, y: Array) -> None:
    """Products of x [rows, in] and weight [out, in] into y [rows, out]."""
    rows, width = x.shape
    half = len(weight) // 2
    for out in range(half):
        v, w = weight[out], weight[half + out]
        row = 0
        while row + 4 <= rows:
            p, q, r, s = x[row], x[row + 1], x[row + 2], x[row + 3]
            a = b = c = d = e = f = g = h = NONE
            for i in range(width):
                a += v[i] * p[i]
                b += v[i] * q[i]
                c += v[i] * r[i]
                d += v[i] * s[i]
                e += w[i] * p[i]
                f += w[i] * q[i]
                g += w[i] * r[i]
                h += w[i] * s[i]
            y[row, out], y[row + 1, out], y[row + 2, out], y[row + 3, out] = a, b, c, d
            other = half + out
            y[row, other], y[row + 1, other], y[row + 2, other], y[row + 3, other] = e, f, g, h
            row += 4
        while row < rows:
            p = x[row]
            a = b = NONE
            for i in range(width):
                a += v[i] * p[i]
            for i in range(width):
                b += w[i] * p[i]
            y[row, out], y[row, half + out] = a, b
            row += 1
    if 2 * half < len(weight):
        weigh(x, weight[2 * half], y[:, 2 * half])


@compiled
def weigh(x: Array, w: Array, y: Array) -> None:
    """Products of x [rows, in] and w [in] into y [rows]."""
    quarter = len(x) // 4
    for row in range(quarter):
        p, q, r, s = x[row], x[quarter + row], x[2 * quarter + row], x[3 * quarter + row]
        a = b = c = d = NONE
        for i in range(len(w)):
            a += w[i] * p[i]
            b += w[i] * q[i]
            c += w[i] * r[i]
            d += w[i] * s[i]
        y[row], y[quarter + row], y[2 * quarter + row], y[3 * quarter + row] = a, b, c, d
    for row in range(4 * quarter, len(x)):
        p = x[row]
        a = NONE
        for i in range(len(w)):
            a += w[i] * p[i]
        y[row] = a


@compiled
def exponentiate(x: Array, powers: Bits) -> None:
    """x [n] becomes e^x, to a few units in the last place; `powers` [n] is scribbled on. A NaN becomes some number."""
    for i in range(len(x)):
        value = min(max(x[i], LOWEST), HIGHEST)
        power = np.floor(value * LOG2_E + HALF)
        rest = value - power * LOG_2 - power * LOG_2_REST
        near = ((((P0 * rest + P1) * rest + P2) * rest + P3) * rest + P4) * rest + P5
        x[i] = near * rest * rest + rest + ONE
        powers[i] = np.int32(power) << EXPONENT
    bits = x.view(np.int32)
    for i in range(len(x)):
        bits[i] += powers[i]


@compiled
def normalise(x: Array, y: Array, eps: float) -> None:
    """Rows of x by their lengths, into y; the rest of the RMS norm is in the weights behind it."""
    for row in range(len(x)):
        square = eps * eps
        for i in range(x.shape[1]):
            square += x[row, i] * x[row, i]
        factor = ONE / np.sqrt(square)
        for i in range(x.shape[1]):
            y[row, i] = x[row, i] * factor


@compiled
def add(y: Array, x: Array) -> None:
    """y on top of x, both [rows, width]."""
    for row in range(len(x)):
        for i in range(x.shape[1]):
            x[row, i] += y[row, i]


@compiled
def keep(new: Array, turns: Array, kept: Array, place: int, kinds: int) -> None:
    """Rotate all but the last `kinds` rows of new [heads and keys and values, head_width]; keep keys and values.

    turns [head_width / 2, 2], cosine and sine; keys and values go to `place` of kept [2, kv_heads, capacity,
    head_width].
    """
    rows, head_width = new.shape
    half = head_width // 2
    for row in range(rows - kinds):
        for i in range(half):
            across, up = new[row, i], new[row, half + i]
            new[row, i] = across * turns[i, 0] - up * turns[i, 1]
            new[row, half + i] = across * turns[i, 1] + up * turns[i, 0]
    for kind in range(kinds):
        for i in range(head_width):
            kept[0, kind, place, i] = new[rows - 2 * kinds + kind, i]
            kept[1, kind, place, i] = new[rows - kinds + kind, i]


@compiled
def attend(q: Array, keys: Array, values: Array, scores: Array, powers: Bits, mixed: Array) -> None:
    """Of values [seen, head_width] what queries [heads, head_width] of one kind want, into mixed [heads, head_width].

    `scores` [heads, seen] and `powers` [seen] are scribbled on.
    """
    heads, head_width = q.shape
    scale = ONE / np.sqrt(np.float32(head_width))
    for head in range(heads):
        weights, out = scores[head], mixed[head]
        weigh(keys, q[head], weights)
        top = weights[0]
        for key in range(len(weights)):
            top = max(top, weights[key])
        for key in range(len(weights)):
            weights[key] = (weights[key] - top) * scale
        exponentiate(weights, powers)
        total = NONE
        for key in range(len(weights)):
            total += weights[key]
        for i in range(head_width):
            out[i] = NONE
        quarter = len(weights) // 4
        for key in range(quarter):
            a, b, c, d = weights[key], weights[quarter + key], weights[2 * quarter + key], weights[3 * quarter + key]
            v, w, x, y = values[key], values[quarter + key], values[2 * quarter + key], values[3 * quarter + key]
            for i in range(head_width):
                out[i] += a * v[i] + b * w[i] + c * x[i] + d * y[i]
        for key in range(4 * quarter, len(weights)):
            for i in range(head_width):
                out[i] += weights[key] * values[key, i]
        for i in range(head_width):
            out[i] /= total


@compiled
def gate(gates: Array, let: Array, powers: Bits) -> None:
    """SiLU of the first halves of gates [rows, 2·hidden], times their second halves, into let [rows, hidden]."""
    hidden = let.shape[1]
    for row in range(len(gates)):
        for i in range(hidden):
            let[row, i] = -gates[row, i]
        exponentiate(let[row], powers)
        for i in range(hidden):
            let[row, i] = gates[row, i] / (ONE + let[row, i]) * gates[row, hidden + i]


@compiled
def walk(
    x: Array,
    y: Array,
    qkv: Array,
    new: Array,
    mixed: Array,
    kinds: Array,
    gates: Array,
    let: Array,
    scores: Array,
    powers: Bits,
    slots: Places,
    places: Places,
    seen: Places,
    both: Array,
    turns: Array,
    qkv_weights: Array,
    out_weights: Array,
    up_weights: Array,
    down_weights: Array,
    eps: Array,
) -> None:
    """Tokens x [tokens, width] through all layers, in place; y to `powers` are scribbled on.

    Token t is written at `places[t]` of `slots[t]` in both [layers, 2, slots, kv_heads, capacity, head_width], and sees
    the first `seen[t]` tokens there, those of this call included. turns [capacity, head_width / 2, 2]; eps [layers, 2];
    weights [layers, out, in].
    """
    tokens, kv_heads, hidden = len(x), both.shape[3], let.shape[1]
    for layer in range(len(qkv_weights)):
        normalise(x, y, eps[layer, 0])
        multiply(y, qkv_weights[layer], qkv)
        for t in range(tokens):
            keep(new[t], turns[places[t]], both[layer, :, slots[t]], places[t], kv_heads)
        for t in range(tokens):
            keys, values = both[layer, 0, slots[t]], both[layer, 1, slots[t]]  # [kv_heads, capacity, head_width]
            shared, n = kinds.shape[2], seen[t]
            for kind in range(kv_heads):
                q = new[t, kind * shared : (kind + 1) * shared]
                attend(q, keys[kind, :n], values[kind, :n], scores[:, :n], powers[:n], kinds[t, kind])
        multiply(mixed, out_weights[layer], y)
        add(y, x)
        normalise(x, y, eps[layer, 1])
        multiply(y, up_weights[layer], gates)
        gate(gates, let, powers[:hidden])
        multiply(let, down_weights[layer], y)
        add(y, x)


@compiled
def gelu(x: Array, bias: Array, decays: Array, powers: Bits) -> None:
    """GELU of x [rows, width] + bias [width], in place; `decays` and `powers` [width] are scribbled on."""
    for row in range(len(x)):
        for i in range(x.shape[1]):
            x[row, i] += bias[i]
            decays[i] = -HALF * x[row, i] * x[row, i]
        exponentiate(decays, powers)
        for i in range(x.shape[1]):
            value = x[row, i]
            t = ONE / (ONE + NEAR * SQRT_HALF * abs(value))
            below = ((((E5 * t + E4) * t + E3) * t + E2) * t + E1) * t * decays[i] * HALF  # of a normal at -|value|
            x[row, i] = value * (ONE - below if value > NONE else below)


@compiled
def before(state: Array, at: int, new: Array, seen: Array, after: Array) -> None:
    """Inputs new [inputs, channels] behind those kept at `at` of the state, into seen; the last are kept for after."""
    inputs, channels = new.shape
    tail = len(seen) - inputs
    for i in range(tail):
        for c in range(channels):
            seen[i, c] = state[at + i * channels + c]
    for i in range(inputs):
        for c in range(channels):
            seen[tail + i, c] = new[i, c]
    for i in range(tail):
        for c in range(channels):
            after[at + i * channels + c] = seen[inputs + i, c]


@compiled
def convolve(
    x: Array, states: Array, after: Array, at: int, kernel: int, stride: int, weight: Array, bias: Array, y: Array
) -> None:
    """Convolution and GELU of x [sounds, inputs, channels] behind what `states` [sounds, state] keep at `at`, into y
    [sounds · outputs, width]; the new states go to `after`. weight [width, kernel · channels].
    """
    sounds, inputs, channels = x.shape
    outputs, width = inputs // stride, len(weight)
    seen = np.empty((inputs + kernel - stride, channels), np.float32)
    windows = np.empty((len(y), kernel * channels), np.float32)
    for sound in range(sounds):
        before(states[sound], at, x[sound], seen, after[sound])
        for o in range(outputs):
            for k in range(kernel):
                for c in range(channels):
                    windows[sound * outputs + o, k * channels + c] = seen[o * stride + k, c]
    multiply(windows, weight, y)
    gelu(y, bias, np.empty(width, np.float32), np.empty(width, np.int32))


@compiled
def mix(
    x: Array,
    states: Array,
    after: Array,
    at: int,
    eps: float,
    scales: Array,
    taps: Array,
    tap_biases: Array,
    into: Array,
    into_biases: Array,
    out: Array,
    out_biases: Array,
) -> None:
    """Tokens x [sounds, tokens, hidden] through the blocks of a stem, in place, behind what `states` keep at `at`.

    scales [blocks, hidden] of the norms; taps [blocks, kernel, hidden], into [blocks, spread, hidden], out.
    """
    sounds, tokens, hidden = x.shape
    rows, kernel, spread = sounds * tokens, taps.shape[1], into.shape[1]
    y, mixed = np.empty((rows, hidden), np.float32), np.empty((rows, hidden), np.float32)
    wide = np.empty((rows, spread), np.float32)
    seen = np.empty((tokens + kernel - 1, hidden), np.float32)
    decays, powers = np.empty(spread, np.float32), np.empty(spread, np.int32)
    for block in range(len(taps)):
        for sound in range(sounds):
            first = sound * tokens
            normalise(x[sound], y[first : first + tokens], eps)
            for row in range(first, first + tokens):
                for c in range(hidden):
                    y[row, c] *= scales[block, c]
            before(states[sound], at, y[first : first + tokens], seen, after[sound])
            for t in range(tokens):
                for c in range(hidden):
                    mixed[first + t, c] = tap_biases[block, c]
                for k in range(kernel):
                    for c in range(hidden):
                        mixed[first + t, c] += seen[t + k, c] * taps[block, k, c]
        multiply(mixed, into[block], wide)
        gelu(wide, into_biases[block], decays, powers)
        multiply(wide, out[block], y)
        for sound in range(sounds):
            for t in range(tokens):
                for c in range(hidden):
                    x[sound, t, c] += y[sound * tokens + t, c] + out_biases[block, c]
        at += (kernel - 1) * hidden


@compiled
def remember(
    x: Array,
    seen: Array,
    taps: Array,
    scale: Array,
    shift: Array,
    up: Array,
    up_bias: Array,
    down: Array,
    down_bias: Array,
) -> None:
    """Steps x [steps, width] through a block of the codec, in place, behind seen [past, width], which is brought up.

    taps [past + 1, width] over the steps, a layer norm, and a network with the GELU of the hyperbolic tangent.
    """
    steps, width = x.shape
    past, spread = len(seen), len(up)
    whole, y = np.empty((past + steps, width), np.float32), np.empty((steps, width), np.float32)
    wide = np.empty((steps, spread), np.float32)
    decays, powers = np.empty(spread, np.float32), np.empty(spread, np.int32)
    for t in range(past):
        for c in range(width):
            whole[t, c] = seen[t, c]
    for t in range(steps):
        mean = NONE
        for c in range(width):
            whole[past + t, c] = x[t, c]
            total = NONE
            for k in range(past + 1):
                total += whole[t + k, c] * taps[k, c]
            y[t, c] = total
            mean += total
        mean /= np.float32(width)
        square = NONE
        for c in range(width):
            y[t, c] -= mean
            square += y[t, c] * y[t, c]
        factor = ONE / np.sqrt(square / np.float32(width) + LAYER_EPS)
        for c in range(width):
            y[t, c] = y[t, c] * factor * scale[c] + shift[c]
    for t in range(past):
        for c in range(width):
            seen[t, c] = whole[steps + t, c]
    multiply(y, up, wide)
    for t in range(steps):
        for i in range(spread):
            wide[t, i] += up_bias[i]
            decays[i] = -TWICE * (wide[t, i] + CUBED * wide[t, i] * wide[t, i] * wide[t, i])
        exponentiate(decays, powers)
        for i in range(spread):
            wide[t, i] /= ONE + decays[i]
    multiply(wide, down, y)
    for t in range(steps):
        for c in range(width):
            x[t, c] += y[t, c] + down_bias[c]
