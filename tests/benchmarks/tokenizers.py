"""The tokenizer library against what people use today: `make bench-tokenizers`."""

import os

# One thread for everybody, set before any library starts its pool.
for variable in (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch  # noqa: E402

from tests.benchmarks import (  # noqa: E402
    harness,
    tokenizers_audio,
    tokenizers_image,
    tokenizers_sequence,
    tokenizers_speech,
    tokenizers_text,
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    raise SystemExit(
        harness.main(
            "tokenizers",
            {
                "text": tokenizers_text.rows,
                "audio": tokenizers_audio.rows,
                "image": tokenizers_image.rows,
                "speech": tokenizers_speech.rows,
                "sequence": tokenizers_sequence.rows,
            },
            "Tokenizers against their peers, one thread, medians of paired runs.",
        )
    )
