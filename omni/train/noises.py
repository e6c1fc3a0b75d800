"""Sound that is no speech: kinds for training, and kinds that are heard for the first time in development and test."""

from collections.abc import Callable

import numpy as np

from omni.train.dialogue import Split
from omni.train.speakers import RATE, Sound

Generator = np.random.Generator


def shaped(random: Generator, samples: int, power: float) -> Sound:
    """Noise whose power goes with frequency to the −power: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(random.normal(0, 1, samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 20.0)
    return np.fft.irfft(spectrum * frequency ** (-power / 2), samples).astype(np.float32)


def white(random: Generator, samples: int) -> Sound:
    """Equal power everywhere, or nearly."""
    return shaped(random, samples, random.uniform(-0.2, 0.3))


def pink(random: Generator, samples: int) -> Sound:
    """More power below."""
    return shaped(random, samples, random.uniform(0.6, 1.4))


def hum(random: Generator, samples: int) -> Sound:
    """The mains and its harmonics, with a little hiss."""
    t = np.arange(samples) / RATE
    base = random.choice([50.0, 60.0]) * random.uniform(0.98, 1.02)
    tones = [random.uniform(0, 1) / k * np.sin(2 * np.pi * k * base * t + random.uniform(0, 6)) for k in range(1, 16)]
    return (np.sum(tones, axis=0) + 0.05 * white(random, samples)).astype(np.float32)


def music(random: Generator, samples: int) -> Sound:
    """Chords of decaying tones."""
    out = np.zeros(samples)
    at = 0
    while at < samples:
        n = min(samples - at, int(random.uniform(0.12, 0.7) * RATE))
        t = np.arange(n) / RATE
        for _ in range(random.integers(1, 5)):
            f = 110 * 2 ** (random.integers(0, 40) / 12)
            decay = np.exp(-t * random.uniform(0.5, 8))
            out[at : at + n] += sum(np.sin(2 * np.pi * f * k * t) / k**1.5 for k in range(1, 6)) * decay
        at += n
    return out.astype(np.float32)


def bursts(random: Generator, samples: int) -> Sound:
    """Knocks, breath and rustle: short pieces of shaped noise with pauses."""
    out = np.zeros(samples)
    at = int(random.uniform(0, 0.3) * RATE)
    while at < samples:
        n = min(samples - at, int(random.uniform(0.02, 0.6) * RATE))
        rise = np.minimum(1, np.arange(n) / (random.uniform(0.001, 0.1) * RATE))
        out[at : at + n] += shaped(random, max(n, 2), random.uniform(-1, 2))[:n] * rise * np.linspace(1, 0, n)
        at += n + int(random.uniform(0.05, 0.8) * RATE)
    return out.astype(np.float32)


def crackle(random: Generator, samples: int) -> Sound:
    """A fire or an old record: single clicks, some near each other, over a little rumble."""
    clicks = np.zeros(samples)
    places = random.integers(0, samples, max(1, int(samples / RATE * 10 ** random.uniform(0.3, 2))))
    clicks[places] = random.exponential(1, len(places)) * random.choice([-1, 1], len(places))
    ring = np.exp(-np.arange(400) / random.uniform(1, 60)) * np.cos(np.arange(400) * random.uniform(0.05, 2.5))
    rumble = normal(shaped(random, samples, 1.5)) * random.uniform(0, 0.02)
    return (np.convolve(clicks, ring, "same") + rumble).astype(np.float32)


def sweeps(random: Generator, samples: int) -> Sound:
    """Tones that glide: sirens, birds, a whistle."""
    out = np.zeros(samples)
    at = int(random.uniform(0, 0.3) * RATE)
    while at < samples:
        n = min(samples - at, int(10 ** random.uniform(-1.2, 0.2) * RATE))
        low, high = sorted(10 ** random.uniform(2.3, 3.7, 2))
        path = 0.5 - 0.5 * np.cos(np.linspace(0, random.uniform(1, 12), n))
        tone = np.sin(2 * np.pi * np.cumsum(low * (high / low) ** path) / RATE)
        out[at : at + n] += tone * np.hanning(n) ** 0.3
        at += n + int(random.exponential(0.2) * RATE)
    return out.astype(np.float32)


def beeps(random: Generator, samples: int) -> Sound:
    """An alarm or a telephone: one or two steady tones, on and off at an even pace."""
    t = np.arange(samples) / RATE
    tones = 10 ** random.uniform(2.5, 3.6, random.integers(1, 3))
    on = (t * random.uniform(0.7, 8)) % 1 < random.uniform(0.2, 0.8)
    return (sum(np.sin(2 * np.pi * f * t) for f in tones) * on).astype(np.float32)


def water(random: Generator, samples: int) -> Sound:
    """A tap or a brook: many small bubbles, each a short tone that rises."""
    out = np.zeros(samples + RATE // 10)
    for at in random.integers(0, samples, int(samples / RATE * random.uniform(20, 150))):
        t = np.arange(int(random.uniform(0.01, 0.08) * RATE)) / RATE
        pitch = 10 ** random.uniform(2.6, 3.6) * (1 + random.uniform(0, 8) * t)
        out[at : at + len(t)] += random.exponential(1) * np.sin(2 * np.pi * pitch * t) * np.exp(-t * 60)
    return out[:samples].astype(np.float32)


def murmur(random: Generator, samples: int) -> Sound:
    """A crowd far away: noise in the bands of vowels that swells at the pace of syllables."""
    spectrum = np.fft.rfft(random.normal(0, 1, samples))
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    bands = sum(np.exp(-(((frequency - f) / 150) ** 2)) for f in random.uniform(250, 2800, 4))
    places = np.arange(0, samples + RATE, RATE // 8)
    swell = np.interp(np.arange(samples), places, random.uniform(0.1, 1, len(places)))
    return (np.fft.irfft(spectrum * bands, samples) * swell).astype(np.float32)


def wind(random: Generator, samples: int) -> Sound:
    """Brown noise that swells."""
    slow = np.interp(np.arange(samples), np.arange(0, samples + RATE, RATE // 2),
                     random.uniform(0.1, 1, len(np.arange(0, samples + RATE, RATE // 2))))  # fmt: skip
    return (shaped(random, samples, 2.0) * slow).astype(np.float32)


def applause(random: Generator, samples: int) -> Sound:
    """Many hands: short pieces of noise at random places."""
    out = np.zeros(samples + RATE // 20)
    for at in random.integers(0, samples, int(samples / RATE * random.uniform(15, 120))):
        n = int(random.uniform(0.003, 0.02) * RATE)
        out[at : at + n] += random.normal(0, random.exponential(1), n) * np.linspace(1, 0, n)
    return out[:samples].astype(np.float32)


def rain(random: Generator, samples: int) -> Sound:
    """Many drops: short clicks at random places over a hiss."""
    drops = np.zeros(samples)
    places = random.integers(0, samples, samples // 150)
    drops[places] = random.normal(0, 1, len(places))
    ring = np.exp(-np.arange(80) / random.uniform(6, 20)) * np.sin(np.arange(80) * random.uniform(0.5, 2))
    return (np.convolve(drops, ring, "same") + 0.1 * shaped(random, samples, 0.0)).astype(np.float32)


def engine(random: Generator, samples: int) -> Sound:
    """A motor: a low buzz whose speed wanders, over a rumble."""
    speed = 35 + 15 * np.sin(2 * np.pi * random.uniform(0.05, 0.3) * np.arange(samples) / RATE + random.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(speed) / RATE
    buzz = np.sum([np.sin(k * phase + random.uniform(0, 6)) / k**0.7 for k in range(1, 30)], axis=0)
    return (buzz + 8 * normal(shaped(random, samples, 1.5)) * 0.3).astype(np.float32)


Kind = Callable[[Generator, int], Sound]
KINDS: dict[Split, tuple[Kind, ...]] = {
    "train": (white, pink, hum, music, bursts, crackle, sweeps, beeps, water, murmur),
    "dev": (wind, applause),
    "test": (rain, engine),
}


def normal(samples: Sound) -> Sound:
    """With a root mean square of one."""
    return samples / np.float32(max(1e-9, float(np.sqrt((samples**2).mean()))))


def noise(random: Generator, samples: int, split: Split) -> Sound:
    """Noise of a random kind of the split, with a root mean square of one."""
    kinds = KINDS[split]
    return normal(kinds[random.integers(len(kinds))](random, samples))
