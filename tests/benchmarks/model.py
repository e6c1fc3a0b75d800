"""The published models, here and where they come from: `make bench-model`."""

import os

# One thread for everybody, set before any library starts its pool.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch  # noqa: E402

from tests.benchmarks import harness, model_decoder, model_speech, model_vision  # noqa: E402
from tests.benchmarks.memory import keep_freed_memory  # noqa: E402

if __name__ == "__main__":
    keep_freed_memory()
    torch.set_num_threads(1)
    raise SystemExit(
        harness.main(
            "model",
            {"vision": model_vision.rows, "speech": model_speech.rows, "decoder": model_decoder.rows},
            "Forward passes and training steps against the published implementations, one thread, paired runs.",
        )
    )
